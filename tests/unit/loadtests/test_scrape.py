"""Reading the service's own counters."""

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from loadtests.scrape import Batching, ScrapeFailed, batching_between, scrape, total

Serve = Callable[[ASGIApp], str]

BEFORE = """\
# HELP rcnn_batch_size Images that ran together.
# TYPE rcnn_batch_size histogram
rcnn_batch_size_bucket{model="cells",le="1.0"} 4.0
rcnn_batch_size_sum{model="cells"} 10.0
rcnn_batch_size_count{model="cells"} 4.0
rcnn_batch_size_sum{model="blood cells, {v2}"} 1.0
rcnn_batch_size_count{model="blood cells, {v2}"} 1.0
rcnn_in_flight_requests 0.0
"""

AFTER = """\
rcnn_batch_size_sum{model="cells"} 40.0
rcnn_batch_size_count{model="cells"} 10.0
rcnn_batch_size_sum{model="blood cells, {v2}"} 3.0
rcnn_batch_size_count{model="blood cells, {v2}"} 3.0
rcnn_batch_padding_ratio_sum{model="cells"} 2.0
rcnn_batch_padding_ratio_count{model="cells"} 8.0
"""


def test_samples_are_summed_over_labels() -> None:
    """Two models' batches count together; label values with spaces, commas and braces do not confuse the reading."""
    totals = total(BEFORE)
    assert totals["rcnn_batch_size_sum"] == 11.0
    assert totals["rcnn_batch_size_count"] == 5.0
    assert totals["rcnn_in_flight_requests"] == 0.0


def test_the_mean_batch_is_that_of_the_run_alone() -> None:
    """What ran before the run does not colour it: 32 images in 8 batches, whatever the lifetime mean is."""
    assert batching_between(total(BEFORE), total(AFTER)) == Batching(8, 4.0, 0.25)


def test_no_batch_has_no_mean() -> None:
    """A run that never reached the engine says so, and does not divide by zero."""
    assert batching_between(total(BEFORE), total(BEFORE)) == Batching(0, None, None)
    assert batching_between({}, {}) == Batching(0, None, None)


@pytest.mark.parametrize("text", ["", "\n\n", "nonsense", "name not-a-number", "# EOF"])
def test_what_is_not_a_sample_is_skipped(text: str) -> None:
    """A metrics page that is not one does not break the run."""
    assert total(text) == {}


def test_metrics_are_read_over_the_wire(serve: Serve, service: Callable[..., Starlette]) -> None:
    """A real GET of a real page."""
    assert scrape(f"{serve(service(exposition=BEFORE))}/metrics") == total(BEFORE)


def test_metrics_that_cannot_be_read_are_named(refusing_url: str) -> None:
    """The message has the address."""
    with pytest.raises(ScrapeFailed, match="cannot read metrics at http://127"):
        scrape(f"{refusing_url}/metrics")
