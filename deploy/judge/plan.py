"""What a rollout's traffic can tell, and by when, said before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy.judge.evidence import log_e_above, log_e_below, threshold
from deploy.judge.guards import Guard

POWER = 0.8
_DRAWS = 1000
_MOST_PAIRS = 10_000_000


class CannotTell(Exception):
    """The plan could end in nothing but "undecided"; the message says what to change."""


@dataclass(frozen=True)
class Prospect:
    """For one guard: pairs until a mean as expected is known to be fine, and until one twice the margin is not."""

    guard: Guard
    expected: float  # the mean of a release like the stable one
    pairs_to_promote: int | None  # with POWER; None: more than anybody has
    worse: float  # the mean asked about
    pairs_to_rollback: int | None
    detects: float | None  # the least mean found bad by the horizon with POWER


@dataclass(frozen=True)
class Plan:
    pairs_per_minute: float
    horizon_minutes: float
    prospects: tuple[Prospect, ...]

    @property
    def pairs(self) -> int:
        return int(self.pairs_per_minute * self.horizon_minutes)

    def sentences(self) -> list[str]:
        """One line a guard, for people."""
        lines = []
        for prospect in self.prospects:
            found = "nothing" if prospect.detects is None else f"a mean of {prospect.detects:.3g} or more"
            lines.append(
                f"{prospect.guard.name} (at most {prospect.guard.margin:.3g} allowed): one of {prospect.worse:.3g} "
                f"is found {self._when(prospect.pairs_to_rollback)}; one of {prospect.expected:.3g} is cleared "
                f"{self._when(prospect.pairs_to_promote)}; by the end {found} is found."
            )
        return lines

    def _when(self, pairs: int | None) -> str:
        if pairs is None or not self.pairs_per_minute:
            return "never"
        return f"in {pairs / self.pairs_per_minute:.3g} min ({pairs} pairs)"


def make_plan(
    guards: Sequence[tuple[Guard, float]],
    pairs_per_minute: float,
    horizon_minutes: float,
    alpha_rollback: float,
    alpha_promote: float,
) -> Plan:
    """
    A plan for (guard, expected mean) pairs. Raises CannotTell if some guard could never be cleared or never be missed.

    Observations are taken as 0 or 1: of all values with a given mean in [0, 1] these give the least evidence
    (the logarithm is concave), so what is promised is the worst case.
    """
    pairs = int(pairs_per_minute * horizon_minutes)
    prospects = tuple(_prospect(guard, mean, pairs, alpha_rollback, alpha_promote) for guard, mean in guards)
    for prospect in prospects:
        name, needs = prospect.guard.name, prospect.pairs_to_promote
        if needs is None or needs > pairs:
            wanted = "no traffic is enough" if needs is None else f"{needs} are needed"
            raise CannotTell(
                f"{name}: {pairs} pairs until the horizon cannot show that a mean of {prospect.expected:.3g} is under "
                f"{prospect.guard.margin:.3g}; {wanted}. Mirror a larger share, wait longer, or widen the margin."
            )
        if prospect.detects is None:
            raise CannotTell(f"{name}: {pairs} pairs until the horizon cannot find even a candidate that always fails.")
    return Plan(pairs_per_minute, horizon_minutes, prospects)


def _prospect(guard: Guard, expected: float, pairs: int, alpha_rollback: float, alpha_promote: float) -> Prospect:
    alpha = alpha_rollback * guard.weight
    worse = min(2 * guard.margin, (1 + guard.margin) / 2)
    return Prospect(
        guard,
        expected,
        pairs_needed(expected, guard.margin, alpha_promote),
        worse,
        pairs_needed(worse, guard.tolerated, alpha),
        _detectable(guard.tolerated, pairs, alpha),
    )


def pairs_needed(mean: float, margin: float, alpha: float) -> int | None:
    """The fewest observations (0 or 1) of that mean that tell it from margin with POWER; None: over ten million."""
    if mean == margin:
        return None
    fewest, most = 0, 1
    while not _tells(mean, margin, most, alpha):
        fewest, most = most, most * 2
        if most > _MOST_PAIRS:
            return None
    while most - fewest > max(1, most // 200):
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if _tells(mean, margin, middle, alpha) else (middle, most)
    return most


def _tells(mean: float, margin: float, total: int, alpha: float) -> bool:
    events = np.random.default_rng(0).binomial(total, mean, _DRAWS)
    evidence = log_e_above if mean > margin else log_e_below
    reached = evidence(np.stack([total - events, events], -1), (0, 1), margin) >= threshold(alpha)
    return bool(reached.mean() >= POWER)


def _detectable(margin: float, total: int, alpha: float) -> float | None:
    if total == 0 or not _tells(1.0, margin, total, alpha):
        return None
    missed, found = margin, 1.0
    while found - missed > 0.005 * found:
        middle = (missed + found) / 2
        missed, found = (missed, middle) if _tells(middle, margin, total, alpha) else (middle, found)
    return found
