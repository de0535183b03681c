"""What becomes of the questions a candidate is asked too, as counters and histograms: they add up over pods."""

from dataclasses import dataclass

from service.metric_registry import MetricRegistry
from service.pairing import Pairing, Seen

_SHARES = (0, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1)
_SLOWDOWNS = (0.25, 0.5, 2 / 3, 0.8, 1 / 1.1, 1, 1.1, 1.25, 1.5, 2, 4)  # every edge with its inverse
_OVERLAPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.999, 1)
_CHANGES = (-0.5, -0.3, -0.2, -0.1, -0.05, -0.01, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
_WORK_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.35, 0.5, 0.75, 1, 2.5, 5, 10)
_SMALL_PX, _LARGE_PX = 32**2, 96**2  # COCO's limits, https://cocodataset.org/#detection-eval
_MOST_LABELS = 100
OTHER_LABEL = "(other)"


@dataclass(frozen=True)
class Work:
    """Seconds that each side worked on one image, without waiting."""

    stable_s: float
    candidate_s: float


class ShadowMetrics(MetricRegistry):
    """The part of the process's metrics that a judge reads."""

    def _declare_shadow(self) -> None:
        by_pair = ("model", "candidate")
        self._shadow_pairs = self._counter(
            "rcnn_shadow_pairs", "Images answered by a candidate too, by the gravest difference.", *by_pair, "outcome"
        )
        self._shadow_objects = self._counter(
            "rcnn_shadow_objects", "Objects in pairs of answers, by what became of them.", *by_pair, "outcome"
        )
        self._shadow_classes = self._counter(
            "rcnn_shadow_class_objects", "The same objects by their class.", *by_pair, "label", "outcome"
        )
        self._shadow_sizes = self._counter(
            "rcnn_shadow_size_objects", "The same objects by the area of their box.", *by_pair, "size", "outcome"
        )
        self._shadow_labels: set[str] = set()
        self._declare_differences(*by_pair)
        self._shadow_dropped = self._counter(
            "rcnn_shadow_dropped", "Requests meant for a candidate that it was not asked.", "reason"
        )

        self._shadow_draws = self._counter(
            "rcnn_shadow_draws",
            "Answered images that a candidate might have been asked too, and whether it was.",
            "chosen",
        )

    def _declare_differences(self, *by_pair: str) -> None:
        self._shadow_disagreement = self._histogram(
            "rcnn_shadow_disagreement_ratio",
            "Share of both answers' objects without a partner that agrees.",
            _SHARES,
            *by_pair,
        )
        self._shadow_box_iou = self._histogram(
            "rcnn_shadow_box_iou_ratio", "Overlap of the two boxes of an object seen by both.", _OVERLAPS, *by_pair
        )
        self._shadow_mask_iou = self._histogram(
            "rcnn_shadow_mask_iou_ratio", "Overlap of the two masks of an object seen by both.", _OVERLAPS, *by_pair
        )
        self._shadow_score_change = self._histogram(
            "rcnn_shadow_score_change_ratio", "The candidate's score less the stable model's.", _CHANGES, *by_pair
        )
        self._shadow_slowdown = self._histogram(
            "rcnn_shadow_slowdown_ratio",
            "The candidate's work on an image over the stable model's, without waiting.",
            _SLOWDOWNS,
            *by_pair,
        )
        self._shadow_work = self._histogram(
            "rcnn_shadow_work_seconds", "Work on an image that both answered.", _WORK_SECONDS, *by_pair, "side"
        )

    def shadow_paired(self, model: str, candidate: str, pairing: Pairing, work: Work | None) -> None:
        by_pair = (model, candidate)
        self._shadow_pairs.labels(*by_pair, pairing.outcome).inc()
        for outcome, count in pairing.objects.items():
            self._shadow_objects.labels(*by_pair, outcome).inc(count)
        for seen in pairing.seen:
            self._shadow_classes.labels(*by_pair, self._known(seen.label), seen.outcome).inc()
            self._shadow_sizes.labels(*by_pair, size_of(seen), seen.outcome).inc()
        self._shadow_disagreement.labels(*by_pair).observe(pairing.disagreement)
        for match in pairing.matches:
            self._shadow_box_iou.labels(*by_pair).observe(match.box_iou)
            self._shadow_score_change.labels(*by_pair).observe(match.score_change)
            if match.mask_iou is not None:
                self._shadow_mask_iou.labels(*by_pair).observe(match.mask_iou)
        if work is not None:
            self._shadow_slowdown.labels(*by_pair).observe(work.candidate_s / work.stable_s)
            self._shadow_work.labels(*by_pair, "stable").observe(work.stable_s)
            self._shadow_work.labels(*by_pair, "candidate").observe(work.candidate_s)

    def shadow_dropped(self, reason: str) -> None:
        self._shadow_dropped.labels(reason).inc()

    def shadow_drawn(self, chosen: bool) -> None:
        self._shadow_draws.labels("yes" if chosen else "no").inc()

    def _known(self, label: str) -> str:
        """label, or (other) after the first hundred: a candidate's words must not make series without end."""
        if label not in self._shadow_labels and len(self._shadow_labels) >= _MOST_LABELS:
            return OTHER_LABEL
        self._shadow_labels.add(label)
        return label


def size_of(seen: Seen) -> str:
    if seen.box_area_px < _SMALL_PX:
        return "small"
    return "medium" if seen.box_area_px < _LARGE_PX else "large"
