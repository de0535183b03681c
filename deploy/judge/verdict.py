"""What the judge says: one of three answers, why, and on what figures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from deploy.judge.guards import State


class Decision(StrEnum):
    """The three answers; undecided is one of its own, never a no in disguise."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    UNDECIDED = "undecided"

    @property
    def exit_code(self) -> int:
        return {Decision.PROMOTE: 0, Decision.ROLLBACK: 1, Decision.UNDECIDED: 3}[self]


@dataclass(frozen=True)
class Finding:
    """One thing that was asked, what was found, in words and in figures. Promoting waits for what is required."""

    name: str
    state: State
    sentence: str
    figures: Mapping[str, Any]
    is_required: bool = True


@dataclass(frozen=True)
class Verdict:
    """subject: what was judged against what. unfit: why the evidence itself cannot be trusted; empty when it can."""

    decision: Decision
    reasons: tuple[str, ...]
    subject: Mapping[str, Any]
    findings: tuple[Finding, ...]
    unfit: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"schema_version": 1, **asdict(self), "decision": self.decision.value}


def decide(subject: Mapping[str, Any], findings: Sequence[Finding], unfit: Sequence[str] = ()) -> Verdict:
    """
    Roll back if anything is worse, promote if everything required is fine, else undecided.

    Evidence that is unfit (nothing measured, traffic not split as stated) decides nothing, least of all a rollback.
    """
    worse = [finding.sentence for finding in findings if finding.state == "worse"]
    still_open = [finding.sentence for finding in findings if finding.state == "open" and finding.is_required]
    if unfit:
        decision, reasons = Decision.UNDECIDED, list(unfit)
    elif worse:
        decision, reasons = Decision.ROLLBACK, worse
    elif still_open or not findings:
        decision, reasons = Decision.UNDECIDED, still_open or ["nothing was asked"]
    else:
        decision, reasons = Decision.PROMOTE, [finding.sentence for finding in findings]
    return Verdict(decision, tuple(reasons), dict(subject), tuple(findings), tuple(unfit))
