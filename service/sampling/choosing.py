"""Which exchanges are worth a look, and how many of them: pure, and told the time."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from service.detections import Answer, DetectOptions

Reason = Literal["disagreement", "drifted", "nothing_found", "near_threshold", "random"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # the rarest first
_MINUTE_S = 60.0
_DEFAULTS = DetectOptions()


@dataclass(frozen=True)
class Plan:
    """What is chosen, how often, and what is hidden in it."""

    per_minute: int  # at most, > 0
    random_share: float  # of the answers, 0 to 1
    near_threshold: float  # a score less than this above the threshold is near it
    blur: frozenset[str] = frozenset()  # labels whose boxes are made unrecognizable
    queue_bytes: int = 32_000_000  # of pictures that wait to be written

    def may_show(self, options: DetectOptions) -> bool:
        """Whether an answer to these options names everything that is to be blurred."""
        return not self.blur or has_own_thresholds(options)


def has_own_thresholds(options: DetectOptions) -> bool:
    """Whether the model's own thresholds made the answer: under a caller's, its emptiness says nothing."""
    return replace(options, masks="none") == _DEFAULTS


def reasons_of(
    plan: Plan, options: DetectOptions, score_threshold: float, answer: Answer, drifted: bool, draw: Callable[[], float]
) -> list[Reason]:
    """All that holds of an answer, the rarest first. draw gives numbers from 0 to 1."""
    scores, found = answer.detections.scores, list[Reason]()
    if drifted:
        found.append("drifted")
    if has_own_thresholds(options):
        if len(scores) == 0:
            found.append("nothing_found")
        elif float(scores.min()) - score_threshold < plan.near_threshold:
            found.append("near_threshold")
    if draw() < plan.random_share:
        found.append("random")
    return found


class Budget:
    """At most per_minute in any sixty seconds, of which each reason gets its equal share: none crowds out another."""

    def __init__(self, per_minute: int) -> None:
        each = math.ceil(per_minute / len(REASONS))
        self._all = _Pace(per_minute)
        self._of = {reason: _Pace(each) for reason in REASONS}

    def take(self, reasons: Sequence[Reason], now_s: float) -> Reason | None:
        """The first of reasons that has something left now, or None; what it had is one less."""
        if not self._all.has_left(now_s):
            return None
        reason = next((reason for reason in reasons if self._of[reason].has_left(now_s)), None)
        if reason is not None:
            self._all.took(now_s)
            self._of[reason].took(now_s)
        return reason


class _Pace:
    """The times of the last `most` events."""

    def __init__(self, most: int) -> None:
        self._times_s: deque[float] = deque(maxlen=most)

    def has_left(self, now_s: float) -> bool:
        return len(self._times_s) < (self._times_s.maxlen or 0) or now_s - self._times_s[0] >= _MINUTE_S

    def took(self, now_s: float) -> None:
        self._times_s.append(now_s)
