"""The scenarios: each is a schedule of orders, fixed before the run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from loadtests.arrivals import Step, stepped_arrivals_s
from loadtests.driver import Order, Target
from loadtests.pictures import Picture, deal
from loadtests.wire import Trickle


@dataclass(frozen=True, slots=True)
class Traffic:
    """Everything a run will send."""

    scenario: str
    orders: Sequence[Order]
    planned_s: float = 0.0
    """Length of the schedule; 0 where there is none."""
    concurrency: int | None = None
    """How many callers take turns (closed loop); None sends each order when it is due."""
    settings: dict[str, object] = field(default_factory=dict)
    """What must be known to repeat the run, beside the target."""
    tolerated: Sequence[str] = ()
    """Outcomes that are no error in this scenario."""


class NothingDue(Exception):
    """The schedule is empty."""


def steady(target: Target, pictures: Sequence[Picture], rate_per_s: float, duration_s: float, seed: int) -> Traffic:
    """One rate throughout."""
    steps = [Step("", rate_per_s, duration_s)]
    settings: dict[str, object] = {"rate_per_s": rate_per_s, "duration_s": duration_s}
    return _stepped("steady", target, pictures, steps, seed, settings)


def ramp(
    target: Target, pictures: Sequence[Picture], rates_per_s: Sequence[float], step_s: float, seed: int
) -> Traffic:
    """One rate after the other, each for step_s. What cannot be answered beyond the knee is expected, not an error."""
    steps = [Step(f"{rate:g}/s", rate, step_s) for rate in rates_per_s]
    settings: dict[str, object] = {"rates_per_s": list(rates_per_s), "step_s": step_s}
    return replace(_stepped("ramp", target, pictures, steps, seed, settings), tolerated=("429", "504"))


def burst(
    target: Target, pictures: Sequence[Picture], calm_per_s: float, burst_per_s: float, burst_s: float, seed: int
) -> Traffic:
    """Calm, then three short bursts with calm between them."""
    calm, rush = Step("calm", calm_per_s, 4 * burst_s), Step("burst", burst_per_s, burst_s)
    settings: dict[str, object] = {"calm_per_s": calm_per_s, "burst_per_s": burst_per_s, "burst_s": burst_s}
    traffic = _stepped("burst", target, pictures, [calm, rush, calm, rush, calm, rush, calm], seed, settings)
    return replace(traffic, tolerated=("429",))


def overload(
    target: Target, pictures: Sequence[Picture], capacity_per_s: float, factor: float, step_s: float, seed: int
) -> Traffic:
    """Half the capacity, then `factor` times it, then half again: what is lost, and how soon it is over."""
    normal, flood = capacity_per_s / 2, capacity_per_s * factor
    steps = [Step("before", normal, step_s), Step("overload", flood, step_s), Step("after", normal, step_s)]
    settings: dict[str, object] = {"capacity_per_s": round(capacity_per_s, 1), "factor": factor, "step_s": step_s}
    return replace(_stepped("overload", target, pictures, steps, seed, settings), tolerated=("429",))


def slow_clients(
    target: Target,
    pictures: Sequence[Picture],
    rate_per_s: float,
    duration_s: float,
    slow_share: float,
    trickle: Trickle,
    seed: int,
) -> Traffic:
    """Some callers send their bodies drop by drop; the others should not notice."""
    slow = replace(target, trickle=trickle)
    settings: dict[str, object] = {"rate_per_s": rate_per_s, "duration_s": duration_s, "slow_share": slow_share}
    settings |= {"pieces": trickle.pieces, "pause_s": trickle.pause_s}
    kinds = {"quick": (target, 1 - slow_share), "slow": (slow, slow_share)}
    return _mixed("slow-clients", pictures, rate_per_s, duration_s, kinds, seed, settings)


def masks(target: Target, pictures: Sequence[Picture], rate_per_s: float, duration_s: float, seed: int) -> Traffic:
    """Callers without masks beside callers with each of the mask formats, in equal shares."""
    formats = ("none", "rle", "polygon", "png")
    options = [option for option in target.options if option[0] != "masks"]
    kinds = {f"masks={name}": (replace(target, options=[*options, ("masks", name)]), 0.25) for name in formats}
    settings: dict[str, object] = {"rate_per_s": rate_per_s, "duration_s": duration_s}
    return _mixed("masks", pictures, rate_per_s, duration_s, kinds, seed, settings)


def closed(target: Target, pictures: Sequence[Picture], requests: int, concurrency: int, seed: int) -> Traffic:
    """A fixed number of callers, each waiting for its answer before it asks again."""
    orders = [Order(picture, target) for picture in deal(pictures, requests, seed)]
    settings: dict[str, object] = {"requests": requests, "concurrency": concurrency}
    return Traffic("closed", orders, concurrency=concurrency, settings=settings)


def _stepped(
    scenario: str,
    target: Target,
    pictures: Sequence[Picture],
    steps: Sequence[Step],
    seed: int,
    settings: dict[str, object],
) -> Traffic:
    arrivals = stepped_arrivals_s(steps, seed)
    planned_s = sum(step.duration_s for step in steps)
    if not arrivals:
        raise NothingDue(f"no request falls due within {planned_s:g} s at {steps[0].rate_per_s:g}/s")
    dealt = deal(pictures, len(arrivals), seed)
    orders = [Order(picture, target, *arrival) for picture, arrival in zip(dealt, arrivals, strict=True)]
    return Traffic(scenario, orders, planned_s, settings=settings)


def _mixed(
    scenario: str,
    pictures: Sequence[Picture],
    rate_per_s: float,
    duration_s: float,
    kinds: dict[str, tuple[Target, float]],
    seed: int,
    settings: dict[str, object],
) -> Traffic:
    """One rate throughout, each caller's kind drawn at random by the shares given with the kinds."""
    any_target = next(iter(kinds.values()))[0]
    traffic = _stepped(scenario, any_target, pictures, [Step("", rate_per_s, duration_s)], seed, settings)
    shares = [share for _, share in kinds.values()]
    drawn = np.random.default_rng(seed).choice(list(kinds), size=len(traffic.orders), p=shares)
    orders = [replace(order, target=kinds[k][0], kind=str(k)) for order, k in zip(traffic.orders, drawn, strict=True)]
    return replace(traffic, orders=orders)
