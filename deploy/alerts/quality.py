"""
Is the model still any good? Without labels nobody can say; what can be said is that it behaves unlike yesterday.

Every alert here needs IMAGES images on both sides: the mean of a few images moves by itself.
"""

from deploy.alerts.rules import Alert, Clock, Group, Record, Severity

IMAGES = 200
_BY = "namespace, job, model"


def quality_groups(clock: Clock) -> tuple[Group, ...]:
    return (
        Group("rcnn-quality-records", _records(clock), clock("1m")),
        Group("rcnn-quality-alerts", (*_alerts(clock), _drift(clock))),
        Group("rcnn-release", _release(clock)),
    )


def _records(clock: Clock) -> tuple[Record, ...]:
    rules = []
    for name in ("1h", "1d"):
        window = clock(name)
        for metric in ("rcnn_detections_per_image", "rcnn_detection_score"):
            total, count = (f"sum by ({_BY}) (rate({metric}_{part}[{window}]))" for part in ("sum", "count"))
            rules.append(Record(f"{metric.replace('rcnn_', 'rcnn:')}:mean_rate{name}", f"{total}\n  / ({count} > 0)"))
        images = f"sum by ({_BY}) (increase(rcnn_detections_per_image_count[{window}]))"
        empty = f'sum by ({_BY}) (increase(rcnn_detections_per_image_bucket{{le="0.0"}}[{window}]))'
        rules.append(Record(f"rcnn:images:increase{name}", images))
        rules.append(Record(f"rcnn:empty_images:ratio_rate{name}", f"{empty}\n  / ({images} > 0)"))
    return tuple(rules)


def _alerts(clock: Clock) -> tuple[Alert, ...]:
    before = f"offset {clock('1h')}"
    enough = f"and rcnn:images:increase1h >= {IMAGES}\nand rcnn:images:increase1d {before} >= {IMAGES}"
    objects, scores = "rcnn:detections_per_image:mean_rate", "rcnn:detection_score:mean_rate"
    return (
        Alert(
            "RcnnDetectionsShifted",
            f"(\n  {objects}1h > 2 * {objects}1d {before}\n  or {objects}1h < 0.5 * {objects}1d {before}\n)\n{enough}",
            Severity.TICKET,
            "{{ $labels.model }} on {{ $labels.job }} finds far more or far fewer objects than the day before",
            "{{ $value | humanize }} objects an image in the last hour: under half, or over twice, the day's mean.",
            lasting=clock("15m"),
        ),
        Alert(
            "RcnnScoresFell",
            f"{scores}1h < {scores}1d {before} - 0.1\n{enough}",
            Severity.TICKET,
            "{{ $labels.model }} on {{ $labels.job }} is less sure of what it finds than the day before",
            "The mean score was {{ $value | humanize }} in the last hour, at least 0.1 below the day's.",
            lasting=clock("15m"),
        ),
    )


def _drift(clock: Clock) -> Alert:
    return Alert(
        "RcnnDrift",
        f"max by ({_BY}, signal) (rcnn_drift_psi) > 0.25\nand on ({_BY}) max by ({_BY}) (rcnn_drift_samples) >= 500",
        Severity.TICKET,
        "What {{ $labels.model }} on {{ $labels.job }} sees is no longer what it was judged on: {{ $labels.signal }}",
        "The population stability index of {{ $labels.signal }} is {{ $value | humanize }}; above 0.25 is a shift.",
        lasting=clock("30m"),
    )


def _release(clock: Clock) -> tuple[Alert, ...]:
    window = clock("30m")
    dropped = f"sum by (namespace, job) (increase(rcnn_shadow_dropped_total[{window}]))"
    pairs = f"sum by (namespace, job) (increase(rcnn_shadow_pairs_total[{window}]))"
    unfit = f"sum by (namespace, job) (increase(rcnn_gate_unfit_verdicts_total[{window}]))"
    given = f"sum by (namespace, job) (increase(rcnn_gate_verdicts_total[{window}]))"
    versions = f"count by ({_BY}) (count by ({_BY}, version) (rcnn_model_info))"
    on_a_pod = f"max by ({_BY}) (count by ({_BY}, instance) (rcnn_model_info))"
    return (
        Alert(
            "RcnnGateStarved",
            f"{dropped} / ({dropped} + ({pairs} or 0 * {dropped})) > 0.5\nand {dropped} >= 50",
            Severity.TICKET,
            "The release gate of {{ $labels.job }} sees too little to decide",
            "{{ $value | humanizePercentage }} of the pairs meant for it were dropped in the last half hour.",
            lasting=clock("15m"),
        ),
        Alert(
            "RcnnGateBlind",
            f"{unfit} / {given} > 0.9\nand {unfit} >= 10",
            Severity.TICKET,
            "The release gate {{ $labels.job }} is asked and cannot tell",
            "{{ $value | humanizePercentage }} of its verdicts in half an hour had no evidence to stand on.",
            lasting=clock("15m"),
        ),
        Alert(
            "RcnnRolloutStuck",
            f"{versions} > {on_a_pod}",
            Severity.TICKET,
            "Pods of {{ $labels.job }} have disagreed for hours on which version of {{ $labels.model }} to serve",
            "{{ $value }} versions are served, more than on any one pod: a rollout neither went on nor back.",
            lasting=clock("6h"),
        ),
    )
