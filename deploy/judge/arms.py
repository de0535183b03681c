"""
Traffic split between a candidate and the other releases: whose requests fail, window by window.

Both arms are asked at the same time, so that what befalls the service in a window befalls both. Windows end at fixed
times of the clock, and what is kept apart within them (the model, the door) is the same at every look: a later look
adds strata and changes none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.judge.evidence import Floats

_APART = ("model", "protocol")  # what differs by these differs by more than the release
_OWN = {"__name__", "release", *_APART}  # labels that do not say which pod it is


@dataclass(frozen=True)
class Arms:
    """
    By stratum: ends (T,) of windows in seconds since the epoch, and counts (T, 4).

    The counts are requests and errors of the candidate, then requests and errors of all other releases.
    """

    ends: Floats
    counts: Floats

    @property
    def strata(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Those in which both arms were asked, (S,) each, in the order of counts."""
        both = self.counts[(self.counts[:, 0] > 0) & (self.counts[:, 2] > 0)]
        return both[:, 0], both[:, 1], both[:, 2], both[:, 3]

    def after_warm_up(self, seconds: float) -> "Arms":
        """Without the windows that end within so many seconds of the candidate's first one."""
        asked = self.ends[self.counts[:, 0] > 0]
        kept = self.ends >= asked.min() + seconds if seconds and asked.size else np.full(len(self.ends), True)
        return Arms(self.ends[kept], self.counts[kept])


NO_ARMS = Arms(np.zeros(0), np.zeros((0, 4)))


@dataclass(frozen=True)
class Series:
    """One series at the ends of windows: (seconds since the epoch, value), in order; none where it was not scraped."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def pod(self) -> frozenset[tuple[str, str]]:
        """What tells its pod from others: the labels its target carries."""
        return frozenset((name, value) for name, value in self.labels.items() if name not in _OWN)


def arms_of(
    candidate: str, releases: Iterable[Series], requests: Iterable[Series], errors: Iterable[Series], since: float
) -> Arms:
    """
    What pods that say they are `candidate`, and those that say they are another release, counted after `since`.

    releases: 1 with a label `release` for each pod. A pod that says none, or two in one window, is of neither arm.
    """
    names = _names(releases)
    strata: dict[tuple[float, int], list[float]] = {}
    kinds: dict[tuple[str, ...], int] = {}
    for place, rows in enumerate((requests, errors)):
        for row in rows:
            pod, kind = row.pod, kinds.setdefault(tuple(row.labels.get(label, "") for label in _APART), len(kinds))
            for end, growth in increments(row.points, since):
                if name := names.get((pod, end)):
                    side = place if name == candidate else place + 2
                    strata.setdefault((end, kind), [0.0] * 4)[side] += growth
    if not strata:
        return NO_ARMS
    return Arms(np.array([end for end, _ in strata]), np.array(list(strata.values())))


def _names(releases: Iterable[Series]) -> dict[tuple[frozenset[tuple[str, str]], float], str]:
    """Of each pod at the end of each window; empty where it said two."""
    names: dict[tuple[frozenset[tuple[str, str]], float], str] = {}
    for row in releases:
        pod = row.pod
        for end, _ in row.points:
            names[pod, end] = "" if (pod, end) in names else row.labels["release"]
    return names


def increments(points: Sequence[tuple[float, float]], since: float) -> Iterator[tuple[float, float]]:
    """
    (time, growth) of a counter at its points after `since`.

    Where it falls it was started anew, from 0; one first seen after `since` was born there, at 0 too.
    """
    before = 0.0
    for at, value in points:
        if at > since:
            yield at, value - before if value >= before else value
        before = value
