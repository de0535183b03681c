"""The executive dashboard: do we keep our promises, what does it cost, and is the model still any good? Over weeks."""

from deploy.dashboards import metrics
from deploy.dashboards.grafana import Choice, Colour, Dashboard, Figure, Query, Section, Stat, TimeSeries, Unit
from deploy.dashboards.promql import count, highest, lowest, observations, rate
from deploy.dashboards.runbooks import runbook


def executive() -> Dashboard:
    return Dashboard(
        uid="rcnn-executive",
        title="rcnn / executive",
        description="Promises, cost, volume and quality. Look at it over weeks.",
        choices=(
            Choice("namespace", "Namespace", "label_values(rcnn_model_info, namespace)"),
            Choice("model", "Model", 'label_values(rcnn_model_info{namespace=~"$namespace"}, model)'),
            Figure("pod_price", "Price of a pod's hour", "0.20"),
        ),
        sections=(_promises(), _volume_and_cost(), _quality()),
    )


def _promises() -> Section:
    return Section(
        "Promises",
        (
            Stat(
                title="Kept, 30 days",
                question="Which share of the last 30 days' requests was as promised?",
                reading="Availability should be above 99.9 %, latency above 95 %, median latency above 50 %.",
                unit=Unit.SHARE,
                queries=(Query(f"1 - {highest(metrics.BAD_IN_A_MONTH, 'slo')}", "{{slo}}"),),
                width=12,
                links=(runbook("RcnnAvailabilitySlowBurn"), runbook("RcnnLatencySlowBurn")),
            ),
            Stat(
                title="Error budget left",
                question="How much of what may go wrong in 30 days is still left?",
                reading="Below a quarter, only what makes the service more reliable is released. Below zero: broken.",
                unit=Unit.SHARE,
                queries=(Query(lowest(metrics.BUDGET_LEFT, "slo"), "{{slo}}"),),
                width=12,
                colours=((-1.0, Colour.BROKEN), (0.0, Colour.ACT), (0.25, Colour.WATCH), (0.5, Colour.GOOD)),
                links=(runbook("RcnnBudgetHalfSpent"),),
            ),
            TimeSeries(
                title="Budget over time",
                question="Is the budget spent steadily, or by incidents?",
                reading="A cliff is an incident: it has a postmortem. A slope is a service that promises too much.",
                unit=Unit.SHARE,
                queries=(Query(lowest(metrics.BUDGET_LEFT, "slo"), "{{slo}}"),),
                width=24,
                links=(runbook("RcnnBudgetHalfSpent"),),
            ),
        ),
    )


def _volume_and_cost() -> Section:
    images, pods = observations(metrics.DETECTIONS_PER_IMAGE), count(metrics.IN_FLIGHT)
    return Section(
        "Volume and cost",
        (
            Stat(
                title="Cost of 1000 images",
                question="What do a thousand images cost now?",
                reading="Price of a pod's hour (set it above) times pods, over images. High when pods idle.",
                unit=Unit.MONEY,
                queries=(Query(f"1000 * $pod_price / 3600 * {pods} / {images}", "per 1000 images"),),
                height=8,
            ),
            TimeSeries(
                title="Images",
                question="How many images do we look at?",
                reading="The volume that capacity is planned for; compare with last week.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(observations(metrics.DETECTIONS_PER_IMAGE, "model"), "{{model}}"),),
                width=10,
                is_stacked=True,
            ),
            TimeSeries(
                title="Requests by protocol",
                question="Through which door do callers come?",
                reading="A protocol nobody uses is a protocol nobody would miss.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REQUESTS, "protocol"), "{{protocol}}"),),
                is_stacked=True,
            ),
        ),
    )


def _quality() -> Section:
    return Section(
        "Quality, as far as it shows without labels",
        (
            TimeSeries(
                title="Objects found in an image",
                question="Does each model find as much as it used to?",
                reading="The mean of an hour. A step with a release is the model; a step without one is the pictures.",
                unit=Unit.COUNT,
                queries=(Query(highest(metrics.MEAN_DETECTIONS, "model"), "{{model}}"),),
                links=(runbook("RcnnDetectionsShifted"),),
            ),
            TimeSeries(
                title="Mean score",
                question="Is each model as sure as it used to be?",
                reading="The mean of an hour. A slow fall over weeks is the world moving away from the training data.",
                unit=Unit.SHARE,
                queries=(Query(highest(metrics.MEAN_SCORE, "model"), "{{model}}"),),
                highest=1,
                links=(runbook("RcnnScoresFell"),),
            ),
            TimeSeries(
                title="Images without any object",
                question="How often does a model find nothing?",
                reading="A rise means dark cameras, broken uploads, or a model that has gone blind.",
                unit=Unit.SHARE,
                queries=(Query(highest(metrics.EMPTY_IMAGES, "model"), "{{model}}"),),
                highest=1,
                links=(runbook("RcnnDetectionsShifted"),),
            ),
        ),
    )
