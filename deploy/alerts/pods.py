"""Alerts on pods and what they stand on: gone, restarting, out of memory, turned away, queued, GPU, certificates."""

from deploy.alerts.rules import Alert, Clock, Group, Severity

_JOB = "namespace, job"


def pod_groups(clock: Clock) -> tuple[Group, ...]:
    return (
        Group("rcnn-pods", _pods(clock)),
        Group("rcnn-load", _load(clock)),
        Group("rcnn-gpu", _gpu(clock)),
        Group("rcnn-certificates", (_certificates(clock),)),
    )


def _pods(clock: Clock) -> tuple[Alert, ...]:
    serving = f"last_over_time(rcnn_model_info[{clock('1d')}])"
    judging = f"last_over_time(rcnn_gate_last_verdict_timestamp_seconds[{clock('1d')}])"
    served, ours = f"count by ({_JOB}) ({serving})", f"count by ({_JOB}) ({serving} or {judging})"
    return (
        Alert(
            "RcnnGone",
            f"{served}\nunless count by ({_JOB}) (rcnn_model_info)",
            Severity.PAGE,
            "No pod of {{ $labels.job }} reports any more",
            "It served a model within the last day, and now no pod answers scrapes.",
            lasting=clock("5m"),
        ),
        Alert(
            "RcnnPodDown",
            f"up == 0\nand on ({_JOB}) {ours}",
            Severity.TICKET,
            "{{ $labels.instance }} of {{ $labels.job }} does not answer scrapes",
            "It is still a target, so the pod exists; it is down or its metrics port does not answer.",
            lasting=clock("15m"),
        ),
        Alert(
            "RcnnRestarting",
            f"changes(process_start_time_seconds[{clock('30m')}]) >= 2\nand on ({_JOB}) {ours}",
            Severity.TICKET,
            "{{ $labels.instance }} of {{ $labels.job }} keeps restarting",
            "{{ $value }} restarts in half an hour. A deploy makes new pods and does not count.",
        ),
        Alert(
            "RcnnOutOfMemory",
            'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1'
            "\nand on (namespace, pod, container)"
            f" increase(kube_pod_container_status_restarts_total[{clock('30m')}]) > 0"
            f"\nand on (namespace, pod) ({serving} or {judging})",
            Severity.TICKET,
            "{{ $labels.pod }} was killed for want of memory",
            "The kernel ended a container that reached its memory limit; what was inside is lost.",
        ),
    )


def _load(clock: Clock) -> tuple[Alert, ...]:
    window = clock("10m")
    shed = f"sum by ({_JOB}) (rate(rcnn_shed_total[{window}]))"
    asked = f"sum by ({_JOB}) (rate(rcnn_requests_total[{window}]))"
    return (
        Alert(
            "RcnnShedding",
            f"{shed} / {asked} > 0.05\nand sum by ({_JOB}) (increase(rcnn_shed_total[{window}])) >= 10",
            Severity.TICKET,
            "{{ $labels.job }} turns callers away for load",
            "{{ $value | humanizePercentage }} of requests were refused in the last ten minutes.",
            lasting=clock("5m"),
        ),
        Alert(
            "RcnnQueueStanding",
            f"max by ({_JOB}, model) (avg_over_time(rcnn_queued_work_seconds[{window}])) > 1",
            Severity.TICKET,
            "Work for {{ $labels.model }} on {{ $labels.job }} is queued faster than it is done",
            "{{ $value | humanizeDuration }} of engine work waited on the busiest pod, on average over ten minutes.",
            lasting=clock("5m"),
        ),
    )


def _gpu(clock: Clock) -> tuple[Alert, ...]:
    pod, card = f"{_JOB}, instance", f"{_JOB}, instance, gpu"
    had = f"count by ({pod}) (last_over_time(rcnn_gpu_memory_total_bytes[{clock('1h')}]))"
    has = f"count by ({pod}) (rcnn_gpu_memory_total_bytes)"
    used = f"max by ({card}) (rcnn_gpu_memory_used_bytes) / max by ({card}) (rcnn_gpu_memory_total_bytes)"
    return (
        Alert(
            "RcnnGpuGone",
            f"({had} > {has} or {had} unless {has})\nand on ({pod}) up == 1",
            Severity.TICKET,
            "{{ $labels.instance }} has lost a GPU",
            "It reported more GPUs within the last hour than it does now, and it is up.",
            lasting=clock("5m"),
        ),
        Alert(
            "RcnnGpuMemoryFull",
            f"{used} > 0.95",
            Severity.TICKET,
            "GPU {{ $labels.gpu }} of {{ $labels.instance }} is nearly full",
            "{{ $value | humanizePercentage }} of its memory is taken; the next large batch may not fit.",
            lasting=clock("15m"),
        ),
        Alert(
            "RcnnGpuHot",
            f"max by ({card}) (rcnn_gpu_temperature_celsius) > 87",
            Severity.TICKET,
            "GPU {{ $labels.gpu }} of {{ $labels.instance }} is hot enough to slow itself down",
            "{{ $value }} degrees Celsius for a quarter of an hour.",
            lasting=clock("15m"),
        ),
    )


def _certificates(clock: Clock) -> Alert:
    return Alert(
        "RcnnCertificateExpiring",
        # cert-manager's own metric, or what the blackbox exporter sees on the wire.
        "(certmanager_certificate_expiration_timestamp_seconds or probe_ssl_earliest_cert_expiry)"
        "\n- time() < 14 * 86400",
        Severity.TICKET,
        "A certificate of {{ $labels.namespace }} expires in {{ $value | humanizeDuration }}",
        "It should have been renewed by now; when it expires, callers cannot connect.",
        lasting=clock("1h"),
    )
