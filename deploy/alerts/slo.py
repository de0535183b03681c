"""
Objectives as recorded series, and alerts on how fast the error budget burns.

Several windows and burn rates as in chapter 5 of the SRE Workbook (https://sre.google/workbook/alerting-on-slos/), with
one thing added: an alert needs at least LEAST_BAD bad requests in its long window. A burn rate is a ratio, and with
twenty requests a night one error is a burn rate of 50. What the guard costs is time, never silence: a total outage at
six requests an hour is told by the six-hour window instead of the one-hour window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.alerts.objectives import OURS, Objectives
from deploy.alerts.rules import Alert, Clock, Group, Record, Severity

LEAST_BAD = 10
BUDGET_PERIOD = "30d"


@dataclass(frozen=True, slots=True)
class Burn:
    """The budget burns `rate` times as fast as allowed, over the long window (it matters) and the short (it lasts)."""

    rate: float
    long: str
    short: str


FAST = (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m"))
SLOW = (Burn(3, "1d", "2h"), Burn(1, "3d", "6h"))
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", BUDGET_PERIOD)
_QUICK = WINDOWS[:4]
_BY_MODEL = "sum by (namespace, job, model)"


@dataclass(frozen=True, slots=True)
class Slo:
    """One promise. bad and events count requests in PromQL, with the window written as {window}."""

    name: str
    budget: float
    """The share of events that may be bad."""
    bad: str
    events: str


def slos(objectives: Objectives) -> tuple[Slo, ...]:
    by_model = objectives.p95_by_model_s
    others = f'model!~"{"|".join(by_model)}"' if by_model else ""
    limits = [(objectives.p95_s, others), *((seconds, f'model="{model}"') for model, seconds in by_model.items())]
    answered = f"{_BY_MODEL} (increase(rcnn_request_duration_seconds_count[{{window}}]))"
    return (
        _availability(objectives.availability),
        Slo("latency", 0.05, "\nor ".join(_slower(seconds, models) for seconds, models in limits), answered),
        Slo("median-latency", 0.5, _slower(objectives.p50_s, ""), answered),
    )


def _availability(objective: float) -> Slo:
    """By job, not by model: what is refused before a model is chosen counts as well."""
    failed, everything = _requests(OURS), _requests(("ok", *OURS))
    # Without a single failure there is no such series, and nothing divided by something is nothing, not 0.
    return Slo("availability", round(1 - objective, 9), f"{failed}\nor 0 * {everything}", everything)


def _requests(outcomes: Sequence[str]) -> str:
    matcher = f'outcome=~"{"|".join(outcomes)}"'
    return f"sum by (namespace, job) (increase(rcnn_requests_total{{{matcher}}}[{{window}}]))"


def _slower(seconds: float, models: str) -> str:
    """How many answers took longer; models is a matcher or empty."""
    le = ", ".join(part for part in (f'le="{float(seconds)}"', models) if part)
    answered = f"{_BY_MODEL} (increase(rcnn_request_duration_seconds_count{{{models}}}[{{window}}]))"
    return f"{answered}\n- {_BY_MODEL} (increase(rcnn_request_duration_seconds_bucket{{{le}}}[{{window}}]))"


def slo_groups(objectives: Objectives, clock: Clock) -> tuple[Group, ...]:
    promises = slos(objectives)
    return (
        Group("rcnn-slo-quick", tuple(_records(promises, _QUICK, clock))),
        # Long windows move slowly and cost the most to compute.
        Group("rcnn-slo-long", tuple(_records(promises, WINDOWS[4:], clock)), clock("2m")),
        Group("rcnn-slo-budget", tuple(_budget(promises)), clock("2m")),
        Group("rcnn-slo-alerts", tuple(_alerts(promises, clock))),
    )


def _records(promises: Sequence[Slo], windows: Sequence[str], clock: Clock) -> list[Record]:
    """Names keep the window a deployment uses, also where a drill's clock is quicker: the alerts read them by name."""
    rules = []
    for slo in promises:
        for name in windows:
            window, labels = clock(name), {"slo": slo.name}
            bad, events = f"rcnn:slo_bad:increase{name}", f"rcnn:slo_events:increase{name}"
            ratio = f'{bad}{{slo="{slo.name}"}} / ({events}{{slo="{slo.name}"}} > 0)'
            rules.append(Record(bad, slo.bad.replace("{window}", window), labels))
            rules.append(Record(events, slo.events.replace("{window}", window), labels))
            rules.append(Record(f"rcnn:slo_bad:ratio_rate{name}", ratio, labels))
    return rules


def _budget(promises: Sequence[Slo]) -> list[Record]:
    left = f"1 - rcnn:slo_bad:ratio_rate{BUDGET_PERIOD} / on (slo) group_left () rcnn:slo_budget:ratio"
    budgets = [Record("rcnn:slo_budget:ratio", f"vector({slo.budget:g})", {"slo": slo.name}) for slo in promises]
    return [*budgets, Record("rcnn:slo_budget_left:ratio", left)]


def burning(slo: Slo, burns: Sequence[Burn]) -> str:
    """True while any of the pairs of windows burns. A rate that not even a total failure could reach is left out."""
    reachable = [burn for burn in burns if burn.rate * slo.budget < 1]
    return "\nor\n".join(_pair(slo.name, burn.rate * slo.budget, burn.long, burn.short) for burn in reachable)


def _pair(slo: str, share: float, long: str, short: str) -> str:
    return (
        f'(\n  rcnn:slo_bad:ratio_rate{long}{{slo="{slo}"}} > {share:g}'
        f'\n  and rcnn:slo_bad:ratio_rate{short}{{slo="{slo}"}} > {share:g}'
        f'\n  and rcnn:slo_bad:increase{long}{{slo="{slo}"}} >= {LEAST_BAD}\n)'
    )


def _alerts(promises: Sequence[Slo], clock: Clock) -> list[Alert]:
    availability, latency, median = promises
    settled = clock("1h")  # a ticket can wait, and windows of days that began an hour ago say little yet
    share = "{{ $value | humanizePercentage }}"
    return [
        Alert(
            "RcnnAvailabilityFastBurn",
            burning(availability, FAST),
            Severity.PAGE,
            "Requests to {{ $labels.job }} are failing fast enough to spend the month's budget in days",
            f"{share} of requests fail for reasons of ours; allowed are {availability.budget:.2%}.",
            labels={"slo": "availability"},
        ),
        Alert(
            "RcnnAvailabilitySlowBurn",
            burning(availability, SLOW),
            Severity.TICKET,
            "Requests to {{ $labels.job }} fail more often than promised, for a day or longer",
            f"{share} of requests fail for reasons of ours; allowed are {availability.budget:.2%}.",
            lasting=settled,
            labels={"slo": "availability"},
        ),
        Alert(
            "RcnnLatencyFastBurn",
            burning(latency, FAST),
            Severity.PAGE,
            "{{ $labels.model }} on {{ $labels.job }} is slow for most callers",
            f"{share} of answers take longer than promised; allowed are {latency.budget:.0%}.",
            labels={"slo": "latency"},
        ),
        Alert(
            "RcnnLatencySlowBurn",
            burning(latency, SLOW),
            Severity.TICKET,
            "{{ $labels.model }} on {{ $labels.job }} is slow more often than promised, for a day or longer",
            f"{share} of answers take longer than promised; allowed are {latency.budget:.0%}.",
            lasting=settled,
            labels={"slo": "latency"},
        ),
        Alert(
            "RcnnMedianLatencySlowBurn",
            burning(median, SLOW),
            Severity.TICKET,
            "The usual answer of {{ $labels.model }} on {{ $labels.job }} takes longer than promised",
            f"{share} of answers take longer than the promised median; allowed are {median.budget:.0%}.",
            lasting=settled,
            labels={"slo": "median-latency"},
        ),
        Alert(
            "RcnnBudgetHalfSpent",
            "\nor\n".join(_spent_in_a_day(slo) for slo in (availability, latency)),
            Severity.TICKET,
            "Half of the month's {{ $labels.slo }} budget of {{ $labels.job }} went in one day: pause risky deploys",
            f"{share} of the last day's requests were bad.",
            labels={"action": "pause-deploys"},
        ),
    ]


def _spent_in_a_day(slo: Slo) -> str:
    """Half of 30 days' budget in one day is 15 times the allowed share, if days are alike."""
    return (
        f'(\n  rcnn:slo_bad:ratio_rate1d{{slo="{slo.name}"}} > {15 * slo.budget:g}'
        f'\n  and rcnn:slo_bad:increase1d{{slo="{slo.name}"}} >= {LEAST_BAD}\n)'
    )
