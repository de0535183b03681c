"""The figures of a run."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from loadtests.plot import write_plot
from loadtests.report import Summary, notes, percentiles, summarise, to_json, to_table, write_json
from loadtests.samples import Reply, Sample
from loadtests.scrape import Batching


def answered(due_s: float, latency_ms: float, reply: Reply | None = None, lag_ms: float = 0.0) -> Sample:
    done_s = due_s + latency_ms / 1e3
    return Sample(
        "a.jpg", due_s, due_s + lag_ms / 1e3, done_s, reply or Reply(200, timings_ms={"detector": latency_ms})
    )


REFUSED = Reply(429, retry_after_s=2.0)
TIMED_OUT = Reply(failure="timeout")


def summary_of(*samples: Sample, **options: object) -> Summary:
    return summarise("steady", {"seed": 0}, samples, **options)  # type: ignore[arg-type]


def test_every_request_is_counted_once_under_its_outcome() -> None:
    """Sent is the sum over outcomes; ok counts correct answers only."""
    summary = summary_of(answered(0, 10), answered(1, 20), answered(2, 1, REFUSED), answered(3, 5, TIMED_OUT))
    assert (summary.sent, summary.ok, summary.errors) == (4, 2, 2)
    assert summary.by_outcome == {"200": 2, "429": 1, "timeout": 1}


def test_a_run_passes_only_without_errors() -> None:
    """Nothing sent is no pass either: silence must not look like success."""
    assert summary_of(answered(0, 10)).passed
    assert not summary_of(answered(0, 10), answered(1, 1, REFUSED)).passed
    assert not summary_of().passed


def test_tolerated_outcomes_are_counted_but_are_no_errors() -> None:
    """An overload run wants its refusals, and still fails on anything else."""
    assert summary_of(answered(0, 10), answered(1, 1, REFUSED), tolerated=["429"]).passed
    assert not summary_of(answered(0, 10), answered(1, 1, TIMED_OUT), tolerated=["429"]).passed


def test_refusals_do_not_flatter_the_latency() -> None:
    """Quick refusals and slow answers are told apart."""
    summary = summary_of(answered(0, 100), *(answered(1, 1, REFUSED) for _ in range(99)))
    assert summary.latency_ms is not None and summary.refusal_latency_ms is not None
    assert summary.latency_ms.p50 == pytest.approx(100)
    assert summary.refusal_latency_ms.p99 == pytest.approx(1)


def test_goodput_counts_correct_answers_within_the_objective() -> None:
    """Per second of the whole run: from its beginning to the end of the schedule or the last answer."""
    samples = [answered(0, 50), answered(1, 500), answered(2, 1, REFUSED)]
    assert summary_of(*samples, planned_s=4.0).goodput_per_s == pytest.approx(2 / 4)
    assert summary_of(*samples, planned_s=4.0, objective_ms=100.0).goodput_per_s == pytest.approx(1 / 4)
    assert summary_of(answered(0, 8000), planned_s=4.0).goodput_per_s == pytest.approx(1 / 8)


def test_percentiles_of_nothing_are_absent() -> None:
    """A run without answers has no latency, not a latency of zero."""
    assert percentiles([]) is None
    assert summary_of(answered(0, 5, TIMED_OUT)).latency_ms is None


def test_percentiles_are_those_of_the_values() -> None:
    """0 to 100 in steps of one are their own percentiles."""
    spread = percentiles([float(value) for value in range(101)])
    assert spread is not None
    assert (spread.count, spread.p50, spread.p95, spread.p99, spread.max) == (101, 50.0, 95.0, 99.0, 100.0)


def test_a_late_client_is_pointed_out() -> None:
    """Figures that measure the client rather than the server say so."""
    assert any("this client was 200 ms late" in note for note in notes(summary_of(answered(0, 300, lag_ms=200))))
    assert notes(summary_of(answered(0, 300, lag_ms=1))) == []


def test_an_overload_answer_without_retry_after_is_pointed_out() -> None:
    """A 429 promises to say when to come back; a 503 does not."""
    assert notes(summary_of(answered(0, 1, Reply(429)))) == ["1 answers with 429 had no Retry-After in seconds"]
    assert notes(summary_of(answered(0, 1, REFUSED), answered(1, 1, Reply(503)))) == []


def test_the_slowest_requests_can_be_found_again() -> None:
    """Picture, moment and request id lead to the log line and the trace."""
    slow = answered(3, 900, Reply(200, request_id="r-7"))
    first = summary_of(answered(0, 10), slow, answered(1, 20)).slowest[0]
    assert (first.picture, first.due_s, first.outcome, first.request_id) == ("a.jpg", 3, "200", "r-7")


def test_the_json_holds_the_figures(tmp_path: Path) -> None:
    """Machines read the same figures as people, with the verdict."""
    summary = summary_of(answered(0, 10), batching=Batching(2, 4.5, 0.1))
    path = tmp_path / "made" / "steady.json"
    write_json(summary, path)
    written = json.loads(path.read_text())
    assert written == json.loads(to_json(summary))
    assert (written["passed"], written["sent"], written["by_outcome"]) == (True, 1, {"200": 1})
    assert written["stages_ms"]["detector"]["p50"] == pytest.approx(10)
    assert written["batching"]["mean_batch_size"] == 4.5


def test_the_table_says_what_a_person_asks_first() -> None:
    """Verdict, counts by status, percentiles, goodput, mean batch and stages are on the screen."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(to_table(summary_of(answered(0, 10), answered(1, 1, REFUSED), batching=Batching(2, 4.5, 0.1))))
    shown = console.export_text()
    for expected in (
        "FAILED",
        "1 of 2",
        "200: 1, 429: 1",
        "10.0 / 10.0 / 10.0 ms",
        "4.50 images",
        "goodput",
        "detector",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([], id="empty"),
        pytest.param([answered(0, 5, TIMED_OUT)], id="nothing answered"),
        pytest.param([answered(0, 10), answered(1, 20), answered(2, 1, REFUSED)], id="mixed"),
    ],
)
def test_every_run_can_be_drawn(samples: list[Sample], tmp_path: Path) -> None:
    """A plot is a PNG that opens, for empty and failed runs too: those are the ones that get looked at."""
    path = tmp_path / "made" / "steady.png"
    write_plot(summary_of(*samples), samples, path)
    with Image.open(path) as image:
        assert (image.format, image.width > 1000) == ("PNG", True)
