"""How a drill ended, and in words."""

from dataclasses import dataclass

from deploy.drill.scenarios import Drill


@dataclass(frozen=True, slots=True)
class Quiet:
    """What shows that silence was not for want of looking."""

    answered: int
    """Requests that Prometheus has seen answered well."""
    evaluations: int
    """Of rules, all together."""
    faulty_rules: tuple[str, ...]
    pending: tuple[str, ...]
    """Alerts whose condition held for a while, but not for as long as they ask."""
    notifications: int


@dataclass(frozen=True, slots=True)
class Told:
    """Seconds count from the moment the trouble began; None where nothing told of it."""

    fired_after_s: float | None
    beside: tuple[str, ...]
    """Other alerts that fired by then."""
    notified_after_s: float | None = None
    receiver: str = ""
    """Who was told first."""
    quiet: Quiet | None = None
    """Where nothing was to fire."""


def as_expected(drill: Drill, told: Told) -> bool:
    """The alert fired and somebody was told; or, where there was no trouble, rules were looked at and nobody was."""
    if drill.alert:
        return told.fired_after_s is not None and told.notified_after_s is not None
    quiet = told.quiet
    looked = quiet is not None and quiet.answered > 0 and quiet.evaluations > 0 and not quiet.faulty_rules
    return looked and quiet is not None and not told.beside and not quiet.notifications


def sentence(drill: Drill, told: Told) -> str:
    """What happened, in a line."""
    beside = f"; beside it {', '.join(told.beside)}" if told.beside else ""
    if not drill.alert:
        silence = f"nothing fired in {drill.limit_s:g} s" if not told.beside else f"FIRED: {', '.join(told.beside)}"
        return f"{silence}; {_looking(told.quiet)}" if told.quiet else silence
    if told.fired_after_s is None:
        return f"{drill.alert} did NOT fire within {drill.limit_s:g} s{beside}"
    after = f"{told.fired_after_s:.0f} s, in a deployment {told.fired_after_s * drill.speedup / 60:.0f} min"
    return f"{drill.alert} fired after {after}; {_word(told)}{beside}"


def _word(told: Told) -> str:
    if told.notified_after_s is None:
        return "NOBODY was told"
    return f"{told.receiver} told after {told.notified_after_s:.0f} s"


def _looking(quiet: Quiet) -> str:
    pending = f"pending for a while: {', '.join(quiet.pending)}" if quiet.pending else "none was even pending"
    faults = f"; FAULTY rules: {', '.join(quiet.faulty_rules)}" if quiet.faulty_rules else ""
    return (
        f"{pending}; {quiet.notifications} notifications, {quiet.answered} requests answered, "
        f"{quiet.evaluations} evaluations of rules{faults}"
    )
