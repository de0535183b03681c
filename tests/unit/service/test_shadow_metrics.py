"""What a judge reads of shadow pairs, and that no candidate can make it endless."""

from service.metrics import Metrics
from service.pairing import Pairing, Seen
from service.shadow_metrics import OTHER_LABEL


def told(metrics: Metrics, family: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(family, {"model": "toy", "candidate": "v2", **labels}) or 0.0


def test_a_candidate_that_makes_up_labels_gets_a_hundred_series_and_no_more() -> None:
    metrics = Metrics()
    for number in range(250):
        metrics.shadow_paired("toy", "v2", Pairing("extra", 1.0, seen=(Seen(f"class {number}", 9.0, "extra"),)), None)
    assert told(metrics, "rcnn_shadow_class_objects_total", label="class 99", outcome="extra") == 1
    assert told(metrics, "rcnn_shadow_class_objects_total", label=OTHER_LABEL, outcome="extra") == 150
    metrics.shadow_paired("toy", "v2", Pairing("missed", 1.0, seen=(Seen("class 7", 9.0, "missed"),)), None)
    assert told(metrics, "rcnn_shadow_class_objects_total", label="class 7", outcome="missed") == 1


def test_sizes_are_those_of_coco() -> None:
    metrics = Metrics()
    for side_px in (31.9, 32, 95.9, 96):
        metrics.shadow_paired("toy", "v2", Pairing("agree", 0.0, seen=(Seen("thing", side_px**2, "agree"),)), None)
    sizes = [
        told(metrics, "rcnn_shadow_size_objects_total", size=size, outcome="agree")
        for size in ("small", "medium", "large")
    ]
    assert sizes == [1, 2, 1]
