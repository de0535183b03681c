"""
As much of Prometheus' rule files as is used here, typed, with what we insist on made mandatory: every alert says how
urgent it is, what it means, and where its runbook is.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

import yaml

RUNBOOKS = "deploy/runbooks"

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Severity(StrEnum):
    """Whom it wakes."""

    PAGE = "page"  # somebody, now
    TICKET = "ticket"  # nobody; looked at in the next working hours


@dataclass(frozen=True, slots=True)
class Clock:
    """Writes the durations of the rules; a drill runs them `speedup` times as fast as a deployment does."""

    speedup: int = 1

    def __call__(self, duration: str) -> str:
        """duration as PromQL writes it, one number and one unit: 30m. Raises ValueError for less than a second."""
        seconds, rest = divmod(duration_s(duration), self.speedup)
        if rest or not seconds:
            raise ValueError(f"{duration} is no whole number of seconds when run {self.speedup} times as fast")
        unit = next(unit for unit in reversed(_UNIT_S) if seconds % _UNIT_S[unit] == 0)
        return f"{seconds // _UNIT_S[unit]}{unit}"


def duration_s(duration: str) -> int:
    """Seconds of a PromQL duration of one number and one unit."""
    parts = re.fullmatch(r"(\d+)([smhd])", duration)
    if parts is None:
        raise ValueError(f"expected a duration such as 30m, got {duration!r}")
    return int(parts[1]) * _UNIT_S[parts[2]]


@dataclass(frozen=True, slots=True)
class Record:
    """A series computed from others. Its name is level:metric:operation, as Prometheus recommends."""

    name: str
    expression: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """What fires. Its name is also its runbook's; summary and description may use {{ $labels.x }} and {{ $value }}."""

    name: str
    expression: str
    severity: Severity
    summary: str
    description: str
    lasting: str = ""
    """How long the expression must hold first; empty where its own windows see to that."""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules evaluated together, in order."""

    name: str
    rules: tuple[Record | Alert, ...]
    interval: str = ""
    """Empty: Prometheus' own."""


def to_text(groups: tuple[Group, ...]) -> str:
    """A rule file: the same for the same groups, byte for byte."""
    header = "# Rendered by python -m deploy.alerts: change the code, not this file.\n"
    return header + yaml.dump(
        {"groups": [_group(group) for group in groups]}, Dumper=_Dumper, sort_keys=False, width=1000
    )


def _group(group: Group) -> dict[str, object]:
    timing = {"interval": group.interval} if group.interval else {}
    return {"name": group.name, **timing, "rules": [_rule(rule) for rule in group.rules]}


def _rule(rule: Record | Alert) -> dict[str, object]:
    if isinstance(rule, Record):
        return {"record": rule.name, "expr": rule.expression} | ({"labels": rule.labels} if rule.labels else {})
    lasting = {"for": rule.lasting} if rule.lasting else {}
    annotations = {
        "summary": rule.summary,
        "description": rule.description,
        "runbook_url": f"{RUNBOOKS}/{rule.name}.md",
    }
    labels = {"severity": str(rule.severity), **rule.labels}
    return {"alert": rule.name, "expr": rule.expression, **lasting, "labels": labels, "annotations": annotations}


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks, and everything where it stands."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
