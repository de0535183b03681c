"""Every request of the story accounted for: answered, refused by a bad candidate itself, or failed by the machinery."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.e2e.traffic import Asked


@dataclass(frozen=True)
class Account:
    """candidate_errors: answers of releases that were known to err. machinery: everything else that went wrong."""

    sent: int
    answered: int
    candidate_errors: int
    machinery: dict[str, int]

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing failed but by those known to err, and nothing counted twice."""
        return not self.machinery and self.sent == self.answered + self.candidate_errors


def account(asked: Sequence[Asked], erring: Collection[str]) -> Account:
    """erring: the releases that fail on some images by themselves, as X-Release names them."""
    bad = [one for one in asked if not one.is_ok]
    own = [one for one in bad if one.release in erring]
    others = Counter(f"{one.outcome} from {one.release or 'nobody'}" for one in bad if one.release not in erring)
    return Account(len(asked), len(asked) - len(bad), len(own), dict(others))


def exposure(asked: Sequence[Asked], release: str, begin: float, end: float) -> dict[str, float | int]:
    """
    What callers had of a candidate between two moments: its answers, its share of all of them, its errors, and
    seconds from its first bad answer to its last one of any kind. Each answer counts as bad where none is an error.
    """
    during = [one for one in asked if begin <= one.done <= end]
    its = sorted((one for one in during if one.release == release), key=lambda one: one.done)
    errors = [one for one in its if not one.is_ok]
    first = (errors or its)[0].done if its else begin
    return {
        "answers": len(its),
        "share": round(len(its) / max(len(during), 1), 3),
        "errors": len(errors),
        "first_bad_to_last_s": round(its[-1].done - first, 1) if its else 0.0,
    }


def p95_s(asked: Sequence[Asked], begin: float, end: float) -> float | None:
    """Of the requests that were due within; None without any."""
    latencies_s = [one.latency_s for one in asked if begin <= one.due < end]
    return float(np.quantile(latencies_s, 0.95)) if latencies_s else None
