"""What a rollout's report tells: evidence over time, agreement by class and size, pace, the worst images."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deploy.judge.details import MOST_LOOKS, History, ShadowDetails, quantile
from deploy.judge.report import write_report
from deploy.judge.sampled import worst_samples
from deploy.judge.shadow_gate import Buckets, Policy, ShadowCounts, judge
from deploy.judge.verdict import Verdict, decide
from service.detections import Answer, Detections, ModelId, Timings
from service.sampling.redaction import Note, pack
from service.sampling.store import SampleStore

WORK = Buckets.of([0.05] * 90 + [0.2] * 10, (0.02, 0.1, 0.4))


def seen(pairs: int) -> Verdict:
    shares, paces = Buckets.of([0.0] * pairs, (0, 0.05, 1)), Buckets.of([1.0] * pairs, (0.8, 1, 1.25))
    return judge(ShadowCounts({"agree": float(pairs)}, shares, paces), Policy(), {})


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    array, count = np.array(boxes, np.float32).reshape(-1, 4), len(boxes)
    scores, ids = np.full(count, 0.9, np.float32), np.ones(count, np.int64)
    return Detections((60, 80), array, scores, ids, ("cell",) * count)


def test_a_report_shows_the_evidence_of_every_look_and_agreement_by_class_and_size(tmp_path: Path) -> None:
    history = History()
    for pairs in (100, 500, 2500):
        history.add(seen(pairs))
    by_class = {"RBC": {"agree": 90.0, "missed": 10.0}, "<b>": {"agree": 5.0}}
    work_s = {"stable": WORK, "candidate": WORK}
    details = ShadowDetails(
        by_class, {"small": {"agree": 95.0, "missed": 10.0}}, {"overlap of the boxes": WORK}, work_s
    )
    write_report(tmp_path / "report.html", seen(2500), looks=history.looks, details=details)
    page = (tmp_path / "report.html").read_text()
    curves = re.findall(r'<polyline class="(worse|fine)" points="([^"]+)"', page)
    assert len(curves) == 8 and all(len(points.split()) == 3 for _, points in curves)
    assert "<td>RBC</td><td>100</td><td>90.0%</td>" in page
    assert "<td>small</td><td>105</td><td>90.5%</td>" in page
    assert "&lt;b&gt;" in page and "<b></td>" not in page
    assert len(re.findall(r'<polyline class="(stable|candidate)"', page)) == 2


def test_a_history_is_bounded_evenly_spread_and_knows_only_what_was_measured() -> None:
    history, verdict = History(), seen(100)
    history.add(decide({}, [], ["Prometheus cannot be asked"]))
    assert history.looks == []
    for _ in range(5 * MOST_LOOKS):
        history.add(verdict)
    assert MOST_LOOKS / 4 < len(history.looks) < MOST_LOOKS


@pytest.mark.parametrize("rank, value", [(0.45, 0.06), (0.9, 0.1), (0.95, 0.25), (1, 0.4)])
def test_a_quantile_lies_on_a_line_within_its_bucket(rank: float, value: float) -> None:
    assert quantile(WORK, rank) == pytest.approx(value)
    assert quantile(Buckets((0.1, np.inf), (0.0, 0.0)), rank) is None
    assert quantile(Buckets((0.1, np.inf), (0.0, 7.0)), rank) == 0.1


def test_the_worst_samples_since_the_start_are_drawn_first(tmp_path: Path) -> None:
    store = SampleStore(str(tmp_path), None, 10_000_000, 1e9)
    one, other = (5, 5, 25, 25), (40, 10, 60, 30)

    def keep(taken_at: str, candidate: Detections | None) -> None:
        answer = Answer(ModelId("toy", "1", "sha256:0"), found(one, other), Timings({}, 0.01))
        note = Note(taken_at, ("disagreement",), 0.5, candidate_outcome="missed", candidate_found=candidate)
        store.put(pack(np.zeros((60, 80, 3), np.uint8), answer, note, frozenset()))

    keep("2026-01-01T00:00:00+00:00", found())  # before
    keep("2026-01-01T00:01:00+00:00", None)  # no candidate's
    keep("2026-01-01T00:01:00+00:00", found(one))
    keep("2026-01-01T00:01:00+00:00", found())
    titles = [exhibit.title for exhibit in worst_samples(store, 1767225630.0)]
    assert [title.split(": ")[1] for title in titles] == ["2 missed", "1 agree, 1 missed"]


def test_a_pod_writes_reports_without_the_libraries_that_measure_average_precision() -> None:
    """Its image has an engine and what serves; `rcnn gate rollout` and `watch` run as jobs in it."""
    absent = "import sys; sys.modules.update(dict.fromkeys(('pycocotools', 'torch', 'matplotlib')))"
    modules = "report, sampled, rollout_command, watch_command, server, watch"
    subprocess.run([sys.executable, "-c", f"{absent}; from deploy.judge import {modules}"], check=True)
