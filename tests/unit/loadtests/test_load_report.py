"""The figures of a run."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from loadtests.histogram import encoded, merged, percentiles
from loadtests.html_report import as_table, write_html
from loadtests.plot import bar_figure, run_figure, to_svg, write_plot
from loadtests.report import Summary, notes, summarise, to_json, write_json
from loadtests.samples import Reply, Sample
from loadtests.scrape import Batching, ServerSide
from loadtests.tables import tables, to_terminal


def answered(due_s: float, latency_ms: float, reply: Reply | None = None, lag_ms: float = 0.0) -> Sample:
    done_s = due_s + latency_ms / 1e3
    return Sample(
        "a.jpg", due_s, due_s + lag_ms / 1e3, done_s, reply or Reply(200, timings_ms={"detector": latency_ms})
    )


REFUSED = Reply(429, retry_after_s=2.0)
TIMED_OUT = Reply(failure="timeout")
SERVER = ServerSide(Batching(2, 4.5, 0.1), {"detector": 9.5}, {"deadline": 1.0})


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
    assert summary.latency_ms.p50 == pytest.approx(100, rel=2e-3)
    assert summary.refusal_latency_ms.p99 == pytest.approx(1, rel=2e-3)


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
    """Of 1 to 100 they are 50, 95 and 99, to the histogram's three digits; at any size of values."""
    for scale in (0.01, 1.0, 1000.0):
        spread = percentiles([scale * value for value in range(1, 101)])
        assert spread is not None and spread.count == 100
        assert (spread.p50, spread.p95, spread.p99) == pytest.approx((50 * scale, 95 * scale, 99 * scale), rel=2e-3)
        assert spread.max == 100 * scale


def test_histograms_of_several_runs_merge_into_that_of_all() -> None:
    """Percentiles cannot be averaged; histograms can be added."""
    quick, slow = [float(v) for v in range(1, 91)], [1000.0] * 10
    assert merged([encoded(quick), encoded(slow)]) == merged([encoded(quick + slow)])
    both = merged([encoded(quick), encoded(slow)])
    assert both is not None and both.p95 == pytest.approx(1000, rel=2e-3)
    assert merged([]) is None


def test_kinds_of_callers_are_told_apart() -> None:
    """What the slow ones wait does not hide in the mean, and one kind alone needs no table of kinds."""
    slow = Sample("a.jpg", 1, 1, 3, Reply(200), "slow")
    quick = Sample("a.jpg", 0, 0, 0.01, Reply(200), "quick")
    summary = summary_of(slow, quick)
    assert list(summary.kinds) == ["quick", "slow"]
    assert summary.kinds["slow"].latency_ms is not None
    assert summary.kinds["slow"].latency_ms.p50 == pytest.approx(2000, rel=2e-3)
    assert summary_of(answered(0, 10), answered(1, 20)).kinds == {}


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
    summary = summary_of(answered(0, 10), server=SERVER)
    path = tmp_path / "made" / "steady.json"
    write_json(summary, {"knee_per_s": 12.5}, path)
    written = json.loads(path.read_text())
    assert written == json.loads(to_json(summary, {"knee_per_s": 12.5}))
    assert (written["passed"], written["sent"], written["by_outcome"]) == (True, 1, {"200": 1})
    assert written["stages_ms"]["detector"]["p50"] == pytest.approx(10, rel=2e-3)
    assert written["server"]["batching"]["mean_batch_size"] == 4.5
    assert written["findings"] == {"knee_per_s": 12.5}
    again = merged([written["latency_hdr"]])
    assert again is not None and again.p50 == pytest.approx(10, rel=2e-3)


def test_the_table_says_what_a_person_asks_first() -> None:
    """Verdict, counts by status, percentiles, goodput, mean batch and stages are on the screen."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(to_terminal(summary_of(answered(0, 10), answered(1, 1, REFUSED), server=SERVER), {"knee_per_s": 3.0}))
    shown = console.export_text()
    for expected in (
        "FAILED",
        "1 of 2",
        "200: 1, 429: 1",
        "10.0 / 10.0 / 10.0 ms",
        "4.50 images",
        "goodput",
        "knee_per_s",
        "9.5",
        "deadline: 1",
        "detector",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([], id="empty"),
        pytest.param([answered(0, 5, TIMED_OUT)], id="nothing answered"),
        pytest.param([answered(0, 10), answered(1, 20), answered(2, 1, REFUSED)], id="mixed"),
        pytest.param([answered(0, 10), Sample("a", 1, 1, 1.1, REFUSED, "burst")], id="two kinds"),
    ],
)
def test_every_run_can_be_drawn(samples: list[Sample], tmp_path: Path) -> None:
    """A plot is a PNG that opens, for empty and failed runs too: those are the ones that get looked at."""
    path = tmp_path / "made" / "steady.png"
    write_plot(summary_of(*samples), samples, path)
    with Image.open(path) as image:
        assert (image.format, image.width > 1000) == ("PNG", True)


def test_the_html_report_needs_nothing_else(tmp_path: Path) -> None:
    """One file: every table and the plot inside it, no address to fetch from, what came from outside escaped."""
    samples = [answered(0, 10), Sample("<b>.jpg", 1, 1, 1.5, REFUSED, "burst")]
    summary = summary_of(*samples, server=SERVER)
    path = tmp_path / "made" / "steady.html"
    write_html(path, "a <run>", [*map(as_table, tables(summary, {})), to_svg(run_figure(summary, samples))])
    page = path.read_text()
    assert page.count("<svg") == 1 and "a &lt;run&gt;" in page and "<b>.jpg" not in page
    for fetched in (' src="http', ' href="http', "url(http", "@import", "<script"):
        assert fetched not in page
    for title in ("by kind of caller", "stages (ms)", "slowest"):
        assert title in page


def test_bars_show_the_target_they_should_reach() -> None:
    """A ratio without its target says little."""
    drawn = to_svg(bar_figure("ratios", [("2 sizes", 0.98), ("16 sizes", 0.91)], "of one size", target=0.9))
    assert "</svg>" in drawn
