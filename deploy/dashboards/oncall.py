"""
The on-call dashboard: from "is anyone hurt?" at the top to "where does it come from?" at the bottom.

Read downwards: callers, waiting, batches, what is turned away, what is being released, hardware.
"""

from deploy.dashboards import metrics
from deploy.dashboards.gpus import gpus
from deploy.dashboards.grafana import Choice, Colour, Dashboard, Link, Query, Section, Stat, Table, TimeSeries, Unit
from deploy.dashboards.promql import count, highest, mean, now, quantile, rate, total
from deploy.dashboards.release import release
from deploy.dashboards.runbooks import UID, runbook


def oncall() -> Dashboard:
    return Dashboard(
        uid="rcnn-oncall",
        title="rcnn / on call",
        description="Is anyone hurt, and where does it come from? Read from top to bottom.",
        choices=(
            Choice("namespace", "Namespace", "label_values(rcnn_model_info, namespace)"),
            Choice("model", "Model", 'label_values(rcnn_model_info{namespace=~"$namespace"}, model)'),
        ),
        sections=(
            _alerts(),
            _at_a_glance(),
            _callers(),
            _waiting(),
            _batches(),
            _turned_away(),
            release(),
            gpus(),
        ),
    )


def _alerts() -> Section:
    labels = ("alertname", "severity", "alertstate")
    return Section(
        "Alerts and budgets",
        (
            Table(
                title="Alerts",
                question="Which alerts are pending or firing?",
                reading="Each has a runbook of its name: the link above leads to all of them. Empty is good.",
                unit=Unit.COUNT,
                queries=(Query(count(metrics.ALERTS, *labels), ""),),
                width=12,
                height=6,
                columns=labels,
                value_title="series",
                links=(Link("Runbooks", f"/d/{UID}"),),
            ),
            TimeSeries(
                title="Burn rate",
                question="How many times faster than allowed is the error budget spent?",
                reading="1 lasts a month exactly. 14.4 for an hour pages: two days of it and the budget is gone.",
                unit=Unit.COUNT,
                queries=(
                    Query(
                        f"{highest(metrics.BAD_IN_AN_HOUR, 'slo')} / {highest(metrics.BUDGET, 'slo')}",
                        "{{slo}}",
                    ),
                ),
                width=12,
                height=6,
                links=(runbook("RcnnAvailabilityFastBurn"), runbook("RcnnLatencyFastBurn")),
            ),
        ),
    )


def _at_a_glance() -> Section:
    return Section(
        "At a glance",
        (
            Stat(
                title="Requests",
                question="How much traffic is there now?",
                reading="Zero with pods up means that traffic does not reach us: look at the ingress or the callers.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REQUESTS), "requests"),),
                links=(runbook("RcnnGone"), runbook("RcnnPodDown")),
            ),
            Stat(
                title="p95 latency",
                question="How long do slow requests take now?",
                reading="Compare with the objective; the section on callers shows since when.",
                unit=Unit.SECONDS,
                queries=(Query(quantile(0.95, metrics.REQUEST_DURATION), "p95"),),
                links=(runbook("RcnnLatencyFastBurn"),),
            ),
            Stat(
                title="Queued work",
                question="How many seconds of engine work are waiting?",
                reading="Below a second is normal. Growing means that more arrives than the engines finish.",
                unit=Unit.SECONDS,
                queries=(Query(now(metrics.QUEUED_WORK), "queued"),),
                colours=((0.0, Colour.GOOD), (1.0, Colour.WATCH)),
                links=(runbook("RcnnQueueStanding"),),
            ),
            Stat(
                title="Shed",
                question="Are callers being turned away for load now?",
                reading="Above zero means that capacity is short, or that deadlines are too tight for what is queued.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SHED), "shed"),),
                colours=((0.0, Colour.GOOD), (0.001, Colour.ACT)),
                links=(runbook("RcnnShedding"),),
            ),
        ),
    )


def _callers() -> Section:
    duration = metrics.REQUEST_DURATION
    return Section(
        "Callers",
        (
            TimeSeries(
                title="Requests by outcome",
                question="How much is asked of us, and how does it end?",
                reading="Find the outcome that grew. What never reached a model shows only with all models chosen.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REQUESTS, "outcome"), "{{outcome}}"),),
                is_stacked=True,
                links=(runbook("RcnnAvailabilityFastBurn"),),
            ),
            TimeSeries(
                title="Request latency",
                question="How long do callers wait for an answer?",
                reading="p50 up: everything is slower (engine, node). Only p99 up: queueing, large images, many masks.",
                unit=Unit.SECONDS,
                queries=tuple(Query(quantile(share, duration), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)),
                links=(runbook("RcnnLatencyFastBurn"), runbook("RcnnMedianLatencySlowBurn")),
            ),
            TimeSeries(
                title="p95 latency by version",
                question="Is one version slower than the other?",
                reading="During a rollout: if only the new version is slow, roll back; if both are, look below.",
                unit=Unit.SECONDS,
                queries=(Query(quantile(0.95, duration, "model", "version"), "{{model}} {{version}}"),),
                links=(runbook("RcnnLatencyFastBurn"),),
            ),
            TimeSeries(
                title="p95 by stage",
                question="Which stage of a request is slow?",
                reading="queue: too little capacity. detector, mask_head: engine or hardware. decode, encode: the CPU.",
                unit=Unit.SECONDS,
                queries=(Query(quantile(0.95, metrics.STAGE_DURATION, "stage"), "{{stage}}"),),
                width=12,
                links=(runbook("RcnnLatencySlowBurn"),),
            ),
            TimeSeries(
                title="Requests in each stage",
                question="Where are requests at any moment?",
                reading="Seconds per second: they add up, as quantiles do not. The widest band is the bottleneck.",
                unit=Unit.COUNT,
                queries=(Query(total(metrics.STAGE_DURATION, "stage"), "{{stage}}"),),
                width=12,
                is_stacked=True,
            ),
        ),
    )


def _waiting() -> Section:
    return Section(
        "Waiting",
        (
            TimeSeries(
                title="In flight",
                question="How many requests are inside, and is one pod carrying more than its share?",
                reading="The busiest pod far above the others' share means that the load balancing is uneven.",
                unit=Unit.COUNT,
                queries=(
                    Query(now(metrics.IN_FLIGHT), "all pods"),
                    Query(highest(metrics.IN_FLIGHT), "busiest pod"),
                ),
            ),
            TimeSeries(
                title="Queue depth",
                question="How many images wait for the engine?",
                reading="Steps that drain are batches forming. A slope that does not come back is overload.",
                unit=Unit.COUNT,
                queries=(Query(now(metrics.QUEUE_DEPTH, "model"), "{{model}}"),),
                links=(runbook("RcnnQueueStanding"),),
            ),
            TimeSeries(
                title="Queued work",
                question="How long would the engines need to clear what is waiting?",
                reading="The autoscaler follows this. High while no pods are added: scaling is stuck or at its limit.",
                unit=Unit.SECONDS,
                queries=(
                    Query(now(metrics.QUEUED_WORK, "model"), "{{model}}, all pods"),
                    Query(highest(metrics.QUEUED_WORK, "model"), "{{model}}, busiest pod"),
                ),
                links=(runbook("RcnnQueueStanding"),),
            ),
        ),
    )


def _batches() -> Section:
    return Section(
        "Batches",
        (
            TimeSeries(
                title="Mean batch size",
                question="Do images travel together?",
                reading="Near 1 under load means that sizes do not fit together or that waiting is cut too short.",
                unit=Unit.COUNT,
                queries=(Query(mean(metrics.BATCH_SIZE, "model"), "{{model}}"),),
            ),
            TimeSeries(
                title="Padding",
                question="How much of the engine's work goes into padding?",
                reading="A steady rise means that the images' shapes changed and the canvas grid no longer suits them.",
                unit=Unit.SHARE,
                queries=(Query(mean(metrics.BATCH_PADDING, "model"), "{{model}}"),),
                highest=1,
            ),
            TimeSeries(
                title="Detections per image",
                question="Does the model still find what it used to find?",
                reading="A jump without a release points at the images (a new camera, say); with one, at the model.",
                unit=Unit.COUNT,
                queries=(
                    Query(mean(metrics.DETECTIONS_PER_IMAGE, "model"), "{{model}} mean"),
                    Query(quantile(0.95, metrics.DETECTIONS_PER_IMAGE, "model"), "{{model}} p95"),
                ),
                links=(runbook("RcnnDetectionsShifted"),),
            ),
        ),
    )


def _turned_away() -> Section:
    return Section(
        "Turned away",
        (
            TimeSeries(
                title="Shed by reason",
                question="Why are we refusing work that we could otherwise do?",
                reading="Refusing early keeps the rest quick; if it lasts, add capacity.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SHED, "reason"), "{{reason}}"),),
                is_stacked=True,
                when_empty="nothing shed",
                links=(runbook("RcnnShedding"),),
            ),
            TimeSeries(
                title="Rejected inputs by reason",
                question="What are callers sending that we cannot use?",
                reading="The callers' side: a sudden reason usually follows a release of one of them.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REJECTED_INPUTS, "reason"), "{{reason}}"),),
                is_stacked=True,
                when_empty="nothing rejected",
            ),
            TimeSeries(
                title="Cancelled by stage",
                question="Are callers leaving before we answer, and how far did we get?",
                reading="In the queue: their time-outs are shorter than our waiting. Later: wasted engine work.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.CANCELLED, "stage"), "{{stage}}"),),
                is_stacked=True,
                when_empty="nothing cancelled",
            ),
        ),
    )
