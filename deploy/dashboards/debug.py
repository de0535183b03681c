"""The debug dashboard: why is it so? Distributions instead of quantiles, pod by pod, class by class."""

from deploy.dashboards import metrics
from deploy.dashboards.grafana import Choice, Dashboard, Figure, Heatmap, Link, Query, Section, TimeSeries, Unit
from deploy.dashboards.promql import buckets, highest, now, observations, quantile, rate, total
from deploy.dashboards.runbooks import runbook

NO_SAMPLES_URL = "#metrics.dashboards.samplesUrl-of-the-chart-is-not-set"
"""The chart puts the address where reviewers look at samples in its place."""


def debug() -> Dashboard:
    return Dashboard(
        uid="rcnn-debug",
        title="rcnn / debug",
        description="Why is it so? Distributions, pods and classes.",
        choices=(
            Choice("namespace", "Namespace", "label_values(rcnn_model_info, namespace)"),
            Choice("model", "Model", 'label_values(rcnn_model_info{namespace=~"$namespace"}, model)'),
            Figure("samples_url", "Samples are at", NO_SAMPLES_URL),
        ),
        sections=(_durations(), _batches(), _pods(), _found(), _samples(), _drift(), _candidate()),
    )


def _durations() -> Section:
    stage = metrics.STAGE_DURATION
    return Section(
        "Where the time goes",
        (
            Heatmap(
                title="Whole requests",
                question="Are there two kinds of requests, quick and slow ones?",
                reading="Two bands: two sizes, two models, or some pods slower than others (below).",
                unit=Unit.SECONDS,
                queries=(Query(buckets(metrics.REQUEST_DURATION), "{{le}}"),),
            ),
            Heatmap(
                title="Waiting in the queue",
                question="Does everybody wait a little, or do some wait long?",
                reading="A band that climbs is a queue building up; a second band is one shape of canvas passed over.",
                unit=Unit.SECONDS,
                queries=(Query(buckets(stage, stage="queue"), "{{le}}"),),
                links=(runbook("RcnnQueueStanding"),),
            ),
            Heatmap(
                title="Detector",
                question="Does the engine take as long as it should?",
                reading="Wider batches take longer, and that is fine. The same batches taking longer is the hardware.",
                unit=Unit.SECONDS,
                queries=(Query(buckets(stage, stage="detector"), "{{le}}"),),
                links=(runbook("RcnnLatencySlowBurn"),),
            ),
            Heatmap(
                title="Decode",
                question="Are some files far larger than others?",
                reading="A band far above the rest is one caller's large files.",
                unit=Unit.SECONDS,
                queries=(Query(buckets(stage, stage="decode"), "{{le}}"),),
            ),
            Heatmap(
                title="Mask head",
                question="Do masks take their time?",
                reading="Grows with the number of objects; empty where no model has masks.",
                unit=Unit.SECONDS,
                queries=(Query(buckets(stage, stage="mask_head"), "{{le}}"),),
            ),
            Heatmap(
                title="Encode",
                question="Are answers large?",
                reading="Many masks, or polygons asked for: the CPU, not the engine.",
                unit=Unit.SECONDS,
                queries=(Query(buckets(stage, stage="encode"), "{{le}}"),),
            ),
            TimeSeries(
                title="p99 by stage and model",
                question="Which stage of which model has the long tail?",
                reading="A tail in decode is large files; in encode, many masks.",
                unit=Unit.SECONDS,
                queries=(Query(quantile(0.99, stage, "model", "stage"), "{{model}} {{stage}}"),),
                width=12,
            ),
            TimeSeries(
                title="Seconds a second by stage and model",
                question="Which model and stage take the time of all?",
                reading="What to make quicker first: the highest line.",
                unit=Unit.COUNT,
                queries=(Query(total(stage, "model", "stage"), "{{model}} {{stage}}"),),
                width=12,
                is_stacked=True,
            ),
        ),
    )


def _batches() -> Section:
    return Section(
        "Batches",
        (
            Heatmap(
                title="Batch sizes",
                question="How many images travel together?",
                reading="All at 1 under load: sizes do not fit together, or batching does not pay on this engine.",
                unit=Unit.COUNT,
                queries=(Query(buckets(metrics.BATCH_SIZE), "{{le}}"),),
            ),
            Heatmap(
                title="Padding",
                question="How much of the canvases is empty?",
                reading="A band near 1 is small images on large canvases: export for canvases that suit them.",
                unit=Unit.SHARE,
                queries=(Query(buckets(metrics.BATCH_PADDING), "{{le}}"),),
            ),
            TimeSeries(
                title="Answers from the cache",
                question="How many answers need no model?",
                reading="Both lines at zero: the cache is off, as it is unless RCNN_RESPONSE_CACHE_MB is set.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.CACHE_HITS), "hits"), Query(rate(metrics.CACHE_MISSES), "misses")),
            ),
        ),
    )


def _pods() -> Section:
    by = "instance"
    return Section(
        "Pod by pod",
        (
            TimeSeries(
                title="Requests by pod",
                question="Is the load spread evenly?",
                reading="Uneven with gRPC: callers balance by connection instead of by request.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.REQUESTS, by), "{{instance}}"),),
                width=6,
            ),
            TimeSeries(
                title="p95 by pod",
                question="Is one pod slower than the others?",
                reading="One slow pod at even load: its node, its neighbours, or its GPU.",
                unit=Unit.SECONDS,
                queries=(Query(quantile(0.95, metrics.REQUEST_DURATION, by), "{{instance}}"),),
                width=6,
                links=(runbook("RcnnLatencyFastBurn"),),
            ),
            TimeSeries(
                title="In flight by pod",
                question="Who holds how much?",
                reading="At max_in_flight callers are refused.",
                unit=Unit.COUNT,
                queries=(Query(now(metrics.IN_FLIGHT, by), "{{instance}}"),),
                width=6,
            ),
            TimeSeries(
                title="Queued work by pod",
                question="Whose engine is behind?",
                reading="Seconds each engine needs to clear what waits.",
                unit=Unit.SECONDS,
                queries=(Query(now(metrics.QUEUED_WORK, by), "{{instance}}"),),
                width=6,
            ),
        ),
    )


def _found() -> Section:
    return Section(
        "What is found",
        (
            TimeSeries(
                title="Objects by class",
                question="Which classes are found, and did one vanish?",
                reading="A class at zero while images keep coming: a label shifted, or a model gone half blind.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.DETECTIONS, "model", "label"), "{{model}} {{label}}"),),
                is_stacked=True,
                links=(runbook("RcnnQueueStanding"),),
            ),
            Heatmap(
                title="Scores",
                question="How sure is the model?",
                reading="A model on its own kind of pictures has a band near 1. If it sinks: drift or a bad release.",
                unit=Unit.SHARE,
                queries=(Query(buckets(metrics.DETECTION_SCORE), "{{le}}"),),
                links=(runbook("RcnnScoresFell"),),
            ),
            Heatmap(
                title="Objects in an image",
                question="How full are the pictures?",
                reading="A new band at 0 is images in which nothing is found any more.",
                unit=Unit.COUNT,
                queries=(Query(buckets(metrics.DETECTIONS_PER_IMAGE), "{{le}}"),),
                links=(runbook("RcnnDetectionsShifted"),),
            ),
        ),
    )


def _samples() -> Section:
    look = Link("Look at the samples", "${samples_url:raw}")
    return Section(
        "Sampled images",
        (
            TimeSeries(
                title="Samples kept",
                question="Which images were kept to be looked at, and why?",
                reading="A number says that something is odd; a picture says what. The link above leads to them.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SAMPLES, "reason"), "{{reason}}"),),
                width=12,
                is_stacked=True,
                when_empty="samples_url is not set",
                links=(look,),
            ),
            TimeSeries(
                title="Samples not kept",
                question="What was worth a look and was not kept?",
                reading="rate is what samples_per_minute is for. store: the store fails, and the log says how.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SAMPLES_DROPPED, "reason"), "{{reason}}"),),
                width=12,
                is_stacked=True,
                when_empty="none",
            ),
        ),
    )


def _drift() -> Section:
    return Section(
        "Drift",
        (
            TimeSeries(
                title="Population stability index",
                question="Which signal is unlike the data the model was judged on?",
                reading="Above 0.25 is a shift, if there are samples enough (beside).",
                unit=Unit.COUNT,
                queries=(Query(highest(metrics.DRIFT_PSI, "model", "signal"), "{{model}} {{signal}}"),),
                width=12,
                when_empty="drift is not watched",
                links=(runbook("RcnnDrift"),),
            ),
            TimeSeries(
                title="Images compared",
                question="How many images is that said of?",
                reading="Below some hundreds the index moves by itself.",
                unit=Unit.COUNT,
                queries=(Query(now(metrics.DRIFT_SAMPLES, "model"), "{{model}}"),),
                width=12,
                when_empty="drift is not watched",
            ),
        ),
    )


def _candidate() -> Section:
    return Section(
        "Candidate beside stable",
        (
            TimeSeries(
                title="Images answered by both",
                question="How often do candidate and stable agree?",
                reading="What the gate judges: missed, extra, relabelled and moved against agreement.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SHADOW_PAIRS, "candidate", "outcome"), "{{candidate}} {{outcome}}"),),
                is_stacked=True,
                when_empty="no candidate",
                links=(runbook("RcnnGateBlind"),),
            ),
            TimeSeries(
                title="Pairs dropped",
                question="Does the gate see what it should?",
                reading="Dropped pairs are lost evidence, never lost answers.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(rate(metrics.SHADOW_DROPPED, "reason"), "{{reason}}"),),
                is_stacked=True,
                when_empty="no candidate",
                links=(runbook("RcnnGateStarved"),),
            ),
            TimeSeries(
                title="Images by model",
                question="How much evidence comes in?",
                reading="Images a second on this service; a share of them is mirrored.",
                unit=Unit.REQUESTS_PER_SECOND,
                queries=(Query(observations(metrics.DETECTIONS_PER_IMAGE, "model"), "{{model}}"),),
            ),
        ),
    )
