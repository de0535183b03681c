"""What a report tells beyond the verdict: agreement by class and size, how far answers differ, how long both work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deploy.judge.shadow_gate import Buckets
from deploy.judge.verdict import Verdict

MOST_LOOKS = 400


@dataclass(frozen=True)
class Look:
    """The evidence at one look: for each guard, log e-values that its mean is too high, and that it is fine."""

    pairs: int
    log_e: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, verdict: Verdict) -> "Look":
        both = {f.name: (f.figures["log_e_worse"], f.figures["log_e_fine"]) for f in verdict.findings}
        return cls(int(verdict.subject.get("pairs", 0)), both)


class History:
    """The looks of one rollout, every second one forgotten whenever there are MOST_LOOKS: evenly spread."""

    def __init__(self) -> None:
        self.looks: list[Look] = []
        self._every, self._told = 1, 0

    def add(self, verdict: Verdict) -> Verdict:
        """The verdict again. One without findings (nothing measured) is no look."""
        if not verdict.findings:
            return verdict
        if self._told % self._every == 0:
            self.looks.append(Look.of(verdict))
        self._told += 1
        if len(self.looks) >= MOST_LOOKS:
            self.looks, self._every = self.looks[::2], self._every * 2
        return verdict


@dataclass(frozen=True)
class ShadowDetails:
    """Objects by outcome, for each class and size; histograms of differences and of either side's work in seconds."""

    by_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    by_size: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    differences: Mapping[str, Buckets] = field(default_factory=dict)
    work_s: Mapping[str, Buckets] = field(default_factory=dict)


def quantile(buckets: Buckets, rank: float) -> float | None:
    """
    By straight lines within buckets, as Prometheus' histogram_quantile; None where nothing was counted.

    What lies above the last finite edge is said to lie on it.
    """
    under = np.cumsum(np.asarray(buckets.counts, np.float64))
    if not under.size or not under[-1]:
        return None
    edges = np.asarray(buckets.upper_edges, np.float64)
    place = int(np.searchsorted(under, rank * under[-1]))
    if place == 0 or not np.isfinite(edges[place]):
        return float(edges[max(place - 1, 0)] if place else edges[0])
    share = (rank * under[-1] - under[place - 1]) / (under[place] - under[place - 1])
    return float(edges[place - 1] + share * (edges[place] - edges[place - 1]))


def shares_under(buckets: Buckets) -> Sequence[tuple[float, float]]:
    """(upper edge, share of all up to it) for every finite edge."""
    under, total = np.cumsum(np.asarray(buckets.counts, np.float64)), sum(buckets.counts) or 1.0
    pairs = zip(buckets.upper_edges, (under / total).tolist(), strict=True)
    return [(float(edge), share) for edge, share in pairs if np.isfinite(edge)]
