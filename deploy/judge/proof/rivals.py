"""
The rules canary engines offer, written from what they publish, on the metrics they can be given.

None of them sees pairs: each minute they get, for either arm, the success rate, the 95th percentile of latency and the
mean number of objects found, on images of that arm's own. The thresholds are those of their own examples.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from deploy.judge.proof.pairs import Pairs

Floats = NDArray[np.float64]
LEAST_SUCCESS, MOST_LATENCY, MOST_OBJECTS = 0.99, 1.25, 0.25
_FLAGGER_THRESHOLD = 5  # failed checks in all, its example's value
_CONFIDENCE, _TOLERANCE, _PASS = 0.98, 0.25, 95.0  # Kayenta's judge and the pass threshold of its example


@dataclass(frozen=True)
class Minutes:
    """Metrics by rollout and minute, each (R, T), of the stable and the candidate arm."""

    success: tuple[Floats, Floats]
    latency_p95: tuple[Floats, Floats]
    objects: tuple[Floats, Floats]


def minutes(pairs: Pairs, rollouts: int, horizon: int, per_minute: int, seed: int = 0) -> Minutes:
    """Streams drawn from real pairs; the stable arm's pace is 1, with the candidate's own spread around its median."""
    rng = np.random.default_rng(seed)
    shape = (rollouts, horizon, per_minute)
    here, there = (rng.integers(0, len(pairs.outcomes), shape) for _ in range(2))
    spread = pairs.slowdown / np.median(pairs.slowdown)
    return Minutes(
        (np.ones(shape[:2]), (rng.random(shape) >= pairs.release.error_rate).mean(-1)),
        (np.percentile(spread[here], 95, axis=-1), np.percentile(pairs.slowdown[there], 95, axis=-1)),
        (pairs.stable_objects[here].mean(-1), pairs.objects[there].mean(-1)),
    )


def checks_failed(seen: Minutes) -> NDArray[np.bool_]:
    """(R, T): whether any of the three thresholds is broken in that minute."""
    slower = seen.latency_p95[1] > MOST_LATENCY * seen.latency_p95[0]
    differs = np.abs(seen.objects[1] / np.maximum(seen.objects[0], 1e-9) - 1) > MOST_OBJECTS
    return np.asarray((seen.success[1] < LEAST_SUCCESS) | slower | differs)


def argo(seen: Minutes) -> NDArray[np.bool_]:
    """(R,) rolled back: more failed measurements of a metric than failureLimit, which is 0 (Argo Rollouts 1.9)."""
    return np.asarray(checks_failed(seen).any(1))


def flagger(seen: Minutes) -> NDArray[np.bool_]:
    """(R,) rolled back: failed checks, counted over the whole rollout, reach the threshold (Flagger 1.44)."""
    return np.asarray(checks_failed(seen).sum(1) >= _FLAGGER_THRESHOLD)


def kayenta(seen: Minutes) -> NDArray[np.bool_]:
    """(R,) rolled back: the share of metrics that pass is under the pass threshold (NetflixACAJudge, one judgement)."""
    directions = ((seen.success, -1), (seen.latency_p95, 1), (seen.objects, 0))
    passed = np.stack([~_differs(stable, candidate, bad) for (stable, candidate), bad in directions])
    return np.asarray(100 * passed.mean(0) < _PASS)


def _differs(stable: Floats, candidate: Floats, bad: int) -> NDArray[np.bool_]:
    """
    (R,): significantly higher (bad 1), lower (-1) or either (0), by the Mann-Whitney interval of the shift.

    High when the interval's lower end exceeds the tolerance times the size of the estimated shift, low likewise.
    """
    gaps = (candidate[:, :, None] - stable[:, None, :]).reshape(len(stable), -1)
    shift, low, high = _interval(gaps, stable.shape[1])
    bound = _TOLERANCE * np.abs(shift)
    is_high, is_low = (low > bound) & (shift != 0), (high < -bound) & (shift != 0)
    return np.asarray(is_high if bad > 0 else is_low if bad < 0 else is_high | is_low)


def _interval(gaps: Floats, points: int) -> tuple[Floats, Floats, Floats]:
    """Hodges-Lehmann shift and its interval from all pairwise gaps (R, points²), by the normal approximation."""
    ordered = np.sort(gaps, axis=1)
    spread = np.sqrt(points * points * (2 * points + 1) / 12)
    cut = int(
        np.clip(
            np.floor(points * points / 2 - NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * spread),
            0,
            points * points // 2,
        )
    )
    return np.median(ordered, axis=1), ordered[:, cut], ordered[:, -1 - cut]
