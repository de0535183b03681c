"""Reading the service's own counters."""

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from loadtests.scrape import Batching, ScrapeFailed, between, parse, scrape, total

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
rcnn_stage_duration_seconds_sum{model="cells",stage="decode"} 1.0
rcnn_stage_duration_seconds_count{model="cells",stage="decode"} 100.0
rcnn_stage_duration_seconds_sum{model="cells",stage="nms"} 1.0
rcnn_stage_duration_seconds_count{model="cells",stage="nms"} 100.0
rcnn_shed_total{reason="deadline"} 2.0
"""

AFTER = """\
rcnn_batch_size_sum{model="cells"} 40.0
rcnn_batch_size_count{model="cells"} 10.0
rcnn_batch_size_sum{model="blood cells, {v2}"} 3.0
rcnn_batch_size_count{model="blood cells, {v2}"} 3.0
rcnn_batch_padding_ratio_sum{model="cells"} 2.0
rcnn_batch_padding_ratio_count{model="cells"} 8.0
rcnn_stage_duration_seconds_sum{model="cells",stage="decode"} 1.3
rcnn_stage_duration_seconds_count{model="cells",stage="decode"} 200.0
rcnn_stage_duration_seconds_sum{model="cells",stage="nms"} 1.0
rcnn_stage_duration_seconds_count{model="cells",stage="nms"} 100.0
rcnn_shed_total{reason="deadline"} 5.0
rcnn_shed_total{reason="in_flight"} 0.0
"""


def test_samples_are_summed_over_labels() -> None:
    """Two models' batches count together; label values with spaces, commas and braces do not confuse the reading."""
    series = parse(BEFORE)
    assert total(series, "rcnn_batch_size_sum") == 11.0
    assert total(series, "rcnn_batch_size_count") == 5.0
    assert total(series, "rcnn_in_flight_requests") == 0.0


def test_the_mean_batch_is_that_of_the_run_alone() -> None:
    """What ran before the run does not colour it: 32 images in 8 batches, whatever the lifetime mean is."""
    assert between(parse(BEFORE), parse(AFTER)).batching == Batching(8, 4.0, 0.25)


def test_stages_and_refusals_are_those_of_the_run_alone() -> None:
    """Mean time by stage over all models, in ms, and refusals by reason; stages nobody reached are left out."""
    counted = between(parse(BEFORE), parse(AFTER))
    assert counted.mean_stage_ms == {"decode": pytest.approx(3.0)}
    assert counted.shed == {"deadline": 3.0}


def test_no_batch_has_no_mean() -> None:
    """A run that never reached the engine says so, and does not divide by zero."""
    assert between(parse(BEFORE), parse(BEFORE)).batching == Batching(0, None, None)
    assert between({}, {}).batching == Batching(0, None, None)


@pytest.mark.parametrize("text", ["", "\n\n", "# EOF"])
def test_an_empty_page_has_no_samples(text: str) -> None:
    """A service that has counted nothing yet is no failure."""
    assert parse(text) == {}


def test_a_page_that_is_not_metrics_is_named(serve: Serve, service: Callable[..., Starlette]) -> None:
    """Another server's page is told apart from an empty one."""
    with pytest.raises(ScrapeFailed, match="cannot read metrics"):
        scrape(f"{serve(service(exposition='<html> not metrics'))}/metrics")


def test_metrics_are_read_over_the_wire(serve: Serve, service: Callable[..., Starlette]) -> None:
    """A real GET of a real page."""
    assert scrape(f"{serve(service(exposition=BEFORE))}/metrics") == parse(BEFORE)


def test_metrics_that_cannot_be_read_are_named(refusing_url: str) -> None:
    """The message has the address."""
    with pytest.raises(ScrapeFailed, match="cannot read metrics at http://127"):
        scrape(f"{refusing_url}/metrics")
