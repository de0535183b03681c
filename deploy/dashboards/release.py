"""What is being served, how far a rollout is, and what the judge says of it."""

from deploy.dashboards import metrics
from deploy.dashboards.grafana import Query, Section, Table, TimeSeries, Unit
from deploy.dashboards.promql import count, highest, rate
from deploy.dashboards.runbooks import runbook


def release() -> Section:
    columns = ("model", "version", "digest", "engine", "precision")
    return Section(
        "Release",
        (
            TimeSeries(
                title="Pods by version",
                question="How far is the rollout?",
                reading="One band gives way to the other. Two that stay for hours: it neither went on nor back.",
                unit=Unit.COUNT,
                queries=(Query(count(metrics.MODEL_INFO, "model", "version"), "{{model}} {{version}}"),),
                width=6,
                is_stacked=True,
                links=(runbook("RcnnRolloutStuck"),),
            ),
            TimeSeries(
                title="Requests by version",
                question="How much of the traffic does each version get?",
                reading="The steps of a rollout. A version without traffic after its steps was rolled back.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REQUESTS, "model", "version"), "{{model}} {{version}}"),),
                width=6,
                is_stacked=True,
            ),
            TimeSeries(
                title="Gate verdict",
                question="What does the judge say of the candidate?",
                reading="The line at 1 is its last verdict. undecided: it has not seen enough to promote or roll back.",
                unit=Unit.COUNT,
                queries=(Query(highest(metrics.GATE_DECISION, "decision"), "{{decision}}"),),
                width=6,
                highest=1,
                when_empty="no judge",
                links=(runbook("RcnnGateBlind"),),
            ),
            TimeSeries(
                title="Pairs behind the verdict",
                question="How much has the judge seen?",
                reading="Below 20 it decides nothing. Not growing while it is asked: nobody shadows the candidate.",
                unit=Unit.COUNT,
                queries=(Query(highest(metrics.GATE_PAIRS), "pairs"),),
                width=6,
                when_empty="no judge",
                links=(runbook("RcnnGateStarved"),),
            ),
            Table(
                title="What is being served",
                question="Which models, versions and engines are running, and on how many pods?",
                reading="Two versions of one model mean that a rollout is under way, or that it stopped half-way.",
                unit=Unit.COUNT,
                queries=(Query(count(metrics.MODEL_INFO, *columns), ""),),
                width=24,
                height=6,
                columns=columns,
                value_title="pods",
            ),
        ),
    )
