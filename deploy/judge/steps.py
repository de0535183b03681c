"""A release by weights: more traffic for each verdict that allows it, none at once after one that does not."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deploy.judge.routes import TakenOver
from deploy.judge.verdict import Decision, Verdict
from deploy.judge.watch import at_horizon


class Traffic(Protocol):
    """Sends weight per cent to the canary. Raises TakenOver where its weight is not the expected one any more."""

    def shift(self, weight: int, expected: int | None = None) -> None: ...


@dataclass(frozen=True)
class Steps:
    """weights: rising per cents of traffic, each asking for a verdict; after the last one the canary gets all."""

    weights: tuple[int, ...]
    least_s: float  # at each weight, whatever the evidence
    horizon_s: float  # at each weight; undecided by then, undecided_means counts
    every_s: float
    undecided_means: Decision


def read_weights(text: str) -> tuple[int, ...]:
    """`5,25,50,100` as (5, 25, 50). Raises ValueError unless the weights rise within 1 to 100."""
    weights = tuple(int(part) for part in text.split(","))
    if weights != tuple(sorted(set(weights))) or not 1 <= weights[0] <= weights[-1] <= 100:
        raise ValueError(f"{text}: expected rising per cents such as 5,25,50,100")
    below_all = tuple(weight for weight in weights if weight < 100)
    if not below_all:
        raise ValueError(f"{text}: expected at least one weight below 100, to judge at")
    return below_all


def climb(traffic: Traffic, steps: Steps, look: Callable[[], Verdict], tell: Callable[[str], None]) -> Verdict:
    """
    The verdict by which the canary got all traffic, or none.

    Whatever goes wrong, a signal's exception among it, leaves stable with all traffic before it is raised. But what
    somebody else has set meanwhile (TakenOver) is left as it is.
    """
    try:
        return _climb(traffic, steps, look, tell)
    except TakenOver:
        raise
    except BaseException:
        tell("stopped: all traffic back to stable")
        traffic.shift(0)
        raise


def _climb(traffic: Traffic, steps: Steps, look: Callable[[], Verdict], tell: Callable[[str], None]) -> Verdict:
    before: int | None = None
    for weight in steps.weights:
        traffic.shift(weight, before)
        tell(f"{weight} % to the canary")
        verdict = at_horizon(_hold(steps, look, tell), steps.undecided_means)
        if verdict.decision is not Decision.PROMOTE:
            traffic.shift(0)
            tell(f"{verdict.decision}: all traffic back to stable")
            return verdict
        before = weight
    traffic.shift(100, before)
    tell("promoted: all traffic to the canary")
    return verdict


def _hold(steps: Steps, look: Callable[[], Verdict], tell: Callable[[str], None]) -> Verdict:
    """Look until it is decided, a promotion not before least_s; at the latest at the horizon."""
    start = time.monotonic()
    while True:
        verdict = look()
        held_s = time.monotonic() - start
        tell(f"{verdict.decision}: {verdict.reasons[0]}")
        is_decided = verdict.decision is Decision.ROLLBACK or (
            verdict.decision is Decision.PROMOTE and held_s >= steps.least_s
        )
        if is_decided or held_s >= max(steps.horizon_s, steps.least_s):
            return verdict
        time.sleep(steps.every_s)
