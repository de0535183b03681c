"""The alerting and recording rules, as Prometheus reads them."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.alerts.__main__ import main
from deploy.alerts.objectives import AGREED, BUCKET_EDGES_S, COMMITTED, OURS, Objectives, read_objectives
from deploy.alerts.rules import Clock
from deploy.alerts.slo import FAST, SLOW, burning, slo_groups, slos
from service import errors
from service.detections import ModelId
from service.metrics import Metrics

ROOT = Path(__file__).parents[3]
RULE_FILES = sorted((ROOT / "helm/rcnn/rules").glob("*.yaml"))
TEST_FILES = sorted((ROOT / "deploy/alerts/tests").glob("*.yaml"))
ALERTMANAGER = ROOT / "deploy/alerts/alertmanager.yaml"

Json = dict[str, Any]


def rules() -> Iterator[Json]:
    return (
        rule for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    )


def alerts() -> list[Json]:
    return [rule for rule in rules() if "alert" in rule]


def expectations() -> Iterator[Json]:
    return (
        expected
        for path in TEST_FILES
        for test in yaml.safe_load(path.read_text())["tests"]
        for expected in test["promql_expr_test"]
    )


def leaves(kind: type[errors.ServiceError]) -> Iterator[str]:
    for below in kind.__subclasses__():
        if "code" in vars(below):
            yield below.code
        yield from leaves(below)


def test_the_committed_rules_are_what_the_code_renders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody edits the rendered files, and nobody forgets to render them."""
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0


def test_check_tells_a_stale_file_from_a_fresh_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check writes nothing, exits 1 when a file is missing or differs, and says how to mend it."""
    out = ["--out", str(tmp_path)]
    assert main([*out, "--check"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert main(out) == 0
    assert main([*out, "--check"]) == 0
    (tmp_path / "slo.yaml").write_text("groups: []\n")
    assert main([*out, "--check"]) == 1
    assert "slo.yaml is not what the code renders: run python -m deploy.alerts" in capsys.readouterr().err


def test_promtool_finds_nothing_wrong_with_the_rules(promtool: str) -> None:
    """Every expression parses, and no rule is there twice."""
    checked = subprocess.run([promtool, "check", "rules", *RULE_FILES], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_rules_fire_and_do_not_fire_as_their_tests_say(promtool: str, path: Path) -> None:
    """Simulated hours of series: bursts, nights, gaps, restarts, deploys."""
    tested = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    """An alert nobody has seen fire may never do so. Each moment names all that fires: the rest is silence."""
    fired = {
        name
        for expected in expectations()
        for sample in expected["exp_samples"]
        for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in alerts()}


def test_every_kind_of_trouble_is_tested_for_silence_too() -> None:
    """Each test file has moments at which nothing at all may fire."""
    for path in TEST_FILES:
        moments = [e for test in yaml.safe_load(path.read_text())["tests"] for e in test["promql_expr_test"]]
        silent = [e for e in moments if "ALERTS" in e["expr"] and e["exp_samples"] == []]
        assert len(silent) >= 5, path.name


def test_every_recorded_series_has_its_value_tested() -> None:
    """By its name, or by a pattern over names."""
    asked = [
        name
        for e in expectations()
        if e["exp_samples"]
        for name in re.findall(r"rcnn:[\w:.+]+(?:\([\w|]+\))?", e["expr"])
    ]
    missing = {
        rule["record"]
        for rule in rules()
        if "record" in rule and not any(re.fullmatch(n, rule["record"]) for n in asked)
    }
    assert missing == set()


def test_every_alert_says_whom_it_wakes_what_it_means_and_where_its_runbook_is() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, alert["alert"]
        assert not alert["annotations"]["summary"].endswith("."), alert["alert"]


def test_only_what_hurts_callers_now_wakes_somebody() -> None:
    pages = {alert["alert"] for alert in alerts() if alert["labels"]["severity"] == "page"}
    assert pages == {"RcnnAvailabilityFastBurn", "RcnnLatencyFastBurn", "RcnnGone"}


def test_the_budget_is_spent_by_every_outcome_that_is_our_fault_and_by_no_other() -> None:
    """A new error in the tree has to take a side."""
    ours = {*leaves(errors.Unavailable), *leaves(errors.Fault), "internal"}  # internal: what nobody expected
    assert {*OURS, *AGREED} == ours and not set(OURS) & set(AGREED)
    assert not ours & set(leaves(errors.CallerError))


def test_latencies_can_be_promised_exactly_where_the_service_has_a_bucket() -> None:
    metrics = Metrics()
    metrics.request_done(ModelId("m", "1", "sha256:0"), "rest", "ok", 0.01)
    edges = {
        float(sample.labels["le"])
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "rcnn_request_duration_seconds_bucket"
    }
    assert edges == {*BUCKET_EDGES_S, float("inf")}


def test_a_promise_that_cannot_be_measured_is_refused_with_what_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    for text, said in {
        "availability = 0.999\n[latency]\np95_s = 0.3\np50_s = 0.1": "latency p95_s = 0.3 is no bucket edge; choose",
        "availability = 99.9\n[latency]\np95_s = 0.2\np50_s = 0.1": "availability must lie between 0 and 1",
        "availability = 0.999\n[latency]\np95_s = 0.2": "missing 1 required positional argument: 'p50_s'",
    }.items():
        file.write_text(text)
        assert main(["--objectives", str(file), "--out", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


def test_other_promises_make_other_thresholds(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("availability = 0.99\n[latency]\np95_s = 0.5\np50_s = 0.25\n[latency.p95_by_model_s]\nslow = 1.0")
    assert main(["--objectives", str(file), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "slo.yaml").read_text()
    assert 'rcnn:slo_bad:ratio_rate1h{slo="availability"} > 0.144' in text
    assert 'le="0.5", model!~"slow"' in text and 'le="1.0", model="slow"' in text
    assert 'le="0.2"' not in text


def test_a_burn_rate_beyond_total_failure_is_left_out() -> None:
    """Half of the requests may be slower than the median promised: no burn rate above 2 can ever be reached."""
    availability, _, median = slos(read_objectives(COMMITTED))
    assert burning(median, FAST) == ""
    assert burning(median, SLOW).count("ratio_rate3d") == 1 and "ratio_rate1d" not in burning(median, SLOW)
    assert all(window in burning(availability, FAST) for window in ("1h", "5m", "6h", "30m"))


def test_a_promise_for_all_models_needs_no_matcher() -> None:
    latency = slos(Objectives(0.999, 0.2, 0.08))[1]
    assert "model" not in latency.bad.replace("namespace, job, model", "")


def test_a_quicker_clock_shortens_every_window_alike() -> None:
    assert [Clock(60)(name) for name in ("5m", "1h", "1d", "30d")] == ["5s", "1m", "24m", "12h"]
    assert Clock()("90m") == "90m" and Clock()("48h") == "2d"
    with pytest.raises(ValueError, match="1m is no whole number of seconds when run 120 times as fast"):
        Clock(120)("1m")
    quick = str(slo_groups(Objectives(0.999, 0.2, 0.08), Clock(60)))
    assert "[5m]" not in quick and "[5s]" in quick


def test_the_example_alertmanager_wakes_people_for_pages_only(amtool: str) -> None:
    def receivers(*labels: str) -> str:
        command = [amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert receivers("severity=page", "alertname=RcnnGone") == "pager"
    assert receivers("severity=ticket", "alertname=RcnnShedding") == "tickets"
    assert receivers("severity=ticket", "action=pause-deploys") == "deploys,tickets"


def test_the_example_alertmanager_names_only_alerts_there_are() -> None:
    named = set(re.findall(r"\bRcnn\w+", ALERTMANAGER.read_text()))
    assert named <= {alert["alert"] for alert in alerts()}
