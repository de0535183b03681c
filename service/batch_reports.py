"""What one model's batcher tells of itself: to the metrics, and to the tracer of those whose batch it was."""

from collections.abc import Sequence

from service.detections import ModelId
from service.detector import Found, Work
from service.metrics import ModelMetrics
from service.tracing import BatchRan, Tracer


class BatchReports:
    """Observes a batcher of Work and Found."""

    def __init__(self, model: ModelId, metrics: ModelMetrics, tracer: Tracer) -> None:
        self._model, self._metrics, self._tracer = model, metrics, tracer

    def cancelled(self, stage: str) -> None:
        """A caller left, or ran out of time, while its image was in the queue or in the engine."""
        self._metrics.cancelled(stage)

    def ran(self, batch: Sequence[Work], found: Sequence[Found]) -> None:
        """A batch has run: its size, the share of it that was padding, its seconds, and whose it was."""
        start_s, stages_s = found[0].start_s, found[0].stages_s
        self._tracer.batch_ran(BatchRan(self._model, [work.trace for work in batch], start_s, stages_s))
        valid = sum(work.resized_hw[0] * work.resized_hw[1] for work in batch)
        padded = sum(work.canvas.shape[0] * work.canvas.shape[1] for work in batch)
        self._metrics.batch_ran(len(batch), 1 - valid / padded, sum(stages_s.values()))
