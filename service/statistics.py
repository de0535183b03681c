"""
What each served model did since the process began, exactly: counts and seconds by phase and by batch size.

Fed by the calls that feed the metrics, so both tell the same story; histograms alone cannot give exact batch sizes.
"""

import threading
import time
from dataclasses import dataclass, field

from service.detections import Answer, ModelId

_INPUT, _INFER = ("decode", "preprocess"), ("detector", "nms", "mask_head")


@dataclass
class Duration:
    """How often something happened, and how long it took in all."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds


@dataclass
class BatchStatistics:
    """The batches of one size. infer counts batches, the others images."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


@dataclass
class ModelStatistics:
    """success and fail count requests; queue, input, infer and output images; executions batches."""

    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    last_answer_unix_s: float = 0.0
    batches: dict[int, BatchStatistics] = field(default_factory=dict)

    @property
    def images(self) -> int:
        return self.infer.count

    @property
    def executions(self) -> int:
        return sum(batch.infer.count for batch in self.batches.values())


class Statistics:
    """By model name and version. Fed on the event loop, read from any thread."""

    def __init__(self) -> None:
        self._by_model: dict[tuple[str, str], ModelStatistics] = {}
        self._lock = threading.Lock()

    def of(self, name: str, version: str) -> ModelStatistics:
        """The live record of a model; all zeros before its first request."""
        with self._lock:
            return self._by_model.setdefault((name, version), ModelStatistics())

    def all(self) -> dict[tuple[str, str], ModelStatistics]:
        """The live records by model name and version."""
        with self._lock:
            return dict(self._by_model)

    def answered(self, answer: Answer) -> None:
        """One image has its detections."""
        model, stages_s = self.of(answer.model.name, answer.model.version), answer.timings.stages_s
        input_s = sum(stages_s.get(stage, 0.0) for stage in _INPUT)
        output_s = stages_s.get("encode", 0.0)
        model.queue.add(stages_s.get("queue", 0.0))
        model.input.add(input_s)
        model.infer.add(sum(stages_s.get(stage, 0.0) for stage in _INFER))
        model.output.add(output_s)
        model.last_answer_unix_s = time.time()
        batch = self._batch(model, answer.timings.batch_size)
        batch.input.add(input_s)
        batch.output.add(output_s)

    def request_done(self, model: ModelId, ok: bool, seconds: float) -> None:
        record = self.of(model.name, model.version)
        (record.success if ok else record.fail).add(seconds)

    def batch_ran(self, name: str, version: str, size: int, seconds: float) -> None:
        """The engine finished a batch of size images."""
        self._batch(self.of(name, version), size).infer.add(seconds)

    def _batch(self, model: ModelStatistics, size: int) -> BatchStatistics:
        with self._lock:
            return model.batches.setdefault(size, BatchStatistics())
