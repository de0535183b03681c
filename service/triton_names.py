"""
The statistics under the names of Triton's metrics, for dashboards written for it. Times are in microseconds.

Names and meanings: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/metrics.html
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from service.statistics import ModelStatistics


@dataclass(frozen=True)
class Sample:
    """One line of an exposition."""

    name: str
    help: str
    labels: Mapping[str, str]
    value: float


_OF_MODEL: tuple[tuple[str, str, Callable[[ModelStatistics], float]], ...] = (
    ("nv_inference_request_success", "Requests answered.", lambda m: m.success.count),
    ("nv_inference_count", "Images run.", lambda m: m.images),
    ("nv_inference_exec_count", "Batches run.", lambda m: m.executions),
    ("nv_inference_request_duration_us", "Time of requests answered.", lambda m: m.success.seconds * 1e6),
    ("nv_inference_queue_duration_us", "Time images waited.", lambda m: m.queue.seconds * 1e6),
    ("nv_inference_compute_input_duration_us", "Time of preparing.", lambda m: m.input.seconds * 1e6),
    ("nv_inference_compute_infer_duration_us", "Time of the model.", lambda m: m.infer.seconds * 1e6),
    ("nv_inference_compute_output_duration_us", "Time of finishing.", lambda m: m.output.seconds * 1e6),
)


def triton_samples(statistics: Mapping[tuple[str, str], ModelStatistics]) -> Iterable[Sample]:
    """statistics is by model name and version. reason is always OTHER: rcnn's own outcomes are finer."""
    for (name, version), model in statistics.items():
        labels = {"model": name, "version": version}
        for metric, help, read in _OF_MODEL:
            yield Sample(metric, help, labels, read(model))
        failed = {**labels, "reason": "OTHER"}
        yield Sample("nv_inference_request_failure", "Requests not answered.", failed, model.fail.count)
