"""docs/metrics.md is what the code declares."""

from deploy.judge.metrics import JudgeMetrics
from deploy.metrics_page import LABELS, PAGE, main, page
from service.metrics import Metrics


def test_the_page_is_current() -> None:
    """Whoever adds a metric runs `make metrics-page`."""
    assert main(["--check"]) == 0, "run make metrics-page"


def test_every_label_is_explained_and_every_metric_shown() -> None:
    """A label without a meaning would be a KeyError; one without a metric is left out."""
    text = page()
    for metric in (*Metrics().declared, *JudgeMetrics().declared):
        assert f"| `{metric.name}` |" in text
        assert set(metric.labels) <= LABELS.keys()
    assert PAGE.is_file()
