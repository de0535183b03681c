"""What the GPUs under the pods do; empty where there are none."""

from deploy.dashboards import metrics
from deploy.dashboards.grafana import Query, Section, TimeSeries, Unit
from deploy.dashboards.promql import highest
from deploy.dashboards.runbooks import runbook


def gpus() -> Section:
    absent = "no GPU reported"
    card = "{{instance}} gpu {{gpu}}"
    return Section(
        "GPU",
        (
            TimeSeries(
                title="GPU utilisation",
                question="Is the GPU kept busy?",
                reading="The share of time with any work at all, so 1 is not full. Low with a queue: the CPU is short.",
                unit=Unit.SHARE,
                queries=(Query(highest(metrics.GPU_UTILIZATION, "instance", "gpu"), card),),
                width=6,
                highest=1,
                when_empty=absent,
                links=(runbook("RcnnGpuGone"),),
            ),
            TimeSeries(
                title="GPU memory",
                question="How near are we to running out of GPU memory?",
                reading="Use levels off after warm-up. Still growing an hour later: a leak, or ever larger shapes.",
                unit=Unit.BYTES,
                queries=(
                    Query(highest(metrics.GPU_MEMORY_USED, "instance", "gpu"), f"{card} used"),
                    Query(highest(metrics.GPU_MEMORY_TOTAL, "instance", "gpu"), f"{card} total"),
                ),
                width=6,
                when_empty=absent,
                links=(runbook("RcnnGpuMemoryFull"),),
            ),
            TimeSeries(
                title="GPU temperature",
                question="Is the GPU hot enough to slow itself down?",
                reading="A plateau in the eighties together with falling power or slower detector times is throttling.",
                unit=Unit.CELSIUS,
                queries=(Query(highest(metrics.GPU_TEMPERATURE, "instance", "gpu"), card),),
                width=6,
                when_empty=absent,
                links=(runbook("RcnnGpuHot"),),
            ),
            TimeSeries(
                title="GPU power",
                question="Is the GPU really working?",
                reading="Full utilisation at idle power is waiting, not work.",
                unit=Unit.WATTS,
                queries=(Query(highest(metrics.GPU_POWER, "instance", "gpu"), card),),
                width=6,
                when_empty=absent,
            ),
        ),
    )
