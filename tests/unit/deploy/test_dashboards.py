"""The dashboards, as Grafana reads them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.dashboards import metrics
from deploy.dashboards.__main__ import COMMITTED, DASHBOARDS, main
from deploy.dashboards.grafana import Panel, Query, Section, TimeSeries, Unit
from deploy.dashboards.grafana_json import to_json, to_text
from deploy.dashboards.oncall import oncall
from deploy.dashboards.promql import mean, quantile, rate
from deploy.dashboards.runbooks import PAGES, runbook, runbooks
from deploy.judge.metrics import JudgeMetrics
from service.metrics import Metrics

ROOT = Path(__file__).parents[3]

COUNTERS = {
    "rcnn_requests_total": {"model", "version", "protocol", "outcome"},
    "rcnn_shed_total": {"reason"},
    "rcnn_rejected_inputs_total": {"reason"},
    "rcnn_cancelled_total": {"stage"},
    "rcnn_detections_total": {"model", "label"},
    "rcnn_response_cache_hits_total": set[str](),
    "rcnn_response_cache_misses_total": set[str](),
    "rcnn_shadow_pairs_total": {"model", "candidate", "outcome"},
    "rcnn_shadow_dropped_total": {"reason"},
    "rcnn_samples_total": {"reason"},
    "rcnn_samples_dropped_total": {"reason"},
    "rcnn_gate_verdicts_total": {"decision"},
}
HISTOGRAMS = {
    "rcnn_request_duration_seconds": {"model", "version", "protocol"},
    "rcnn_stage_duration_seconds": {"model", "stage"},
    "rcnn_batch_size": {"model"},
    "rcnn_batch_padding_ratio": {"model"},
    "rcnn_detection_score": {"model"},
    "rcnn_detections_per_image": {"model"},
}
GAUGES = {
    "rcnn_queue_depth": {"model"},
    "rcnn_in_flight_requests": set[str](),
    "rcnn_queued_work_seconds": {"model"},
    "rcnn_drift_psi": {"model", "signal"},
    "rcnn_drift_samples": {"model"},
    "rcnn_model_info": {"model", "version", "digest", "engine", "precision"},
    "rcnn_model_load_duration_seconds": {"model"},
    "rcnn_gpu_utilization_ratio": {"gpu"},
    "rcnn_gpu_memory_used_bytes": {"gpu"},
    "rcnn_gpu_memory_total_bytes": {"gpu"},
    "rcnn_gpu_temperature_celsius": {"gpu"},
    "rcnn_gpu_power_watts": {"gpu"},
    "rcnn_gate_decision": {"decision"},
    "rcnn_gate_pairs": set[str](),
}
RECORDED = {
    "ALERTS": {"alertname", "severity", "alertstate"},
    "rcnn:slo_budget:ratio": {"slo"},
    "rcnn:slo_budget_left:ratio": {"slo"},
    "rcnn:slo_bad:ratio_rate1h": {"slo"},
    "rcnn:slo_bad:ratio_rate30d": {"slo"},
    "rcnn:detections_per_image:mean_rate1h": {"model"},
    "rcnn:detection_score:mean_rate1h": {"model"},
    "rcnn:empty_images:ratio_rate1h": {"model"},
}
"""By Prometheus itself and the rules of deploy/alerts, with the labels queries may use."""

NOT_ALWAYS = {"rcnn_drift_psi", "rcnn_drift_samples", "rcnn_shadow_pairs_total", "rcnn_shadow_dropped_total"}
"""Exposed where drift is watched and a candidate is shadowed."""

SERIES = (
    COUNTERS
    | GAUGES
    | RECORDED
    | {f"{name}_{part}": labels for name, labels in HISTOGRAMS.items() for part in ("sum", "count")}
    | {f"{name}_bucket": labels | {"le"} for name, labels in HISTOGRAMS.items()}
)
"""The service's promise: every series it exposes, and the labels on it."""

SCRAPE_LABELS = {"namespace", "instance"}
VARIABLES = {"datasource", "namespace", "model", "__rate_interval", "pod_price", "samples_url"}

Json = dict[str, Any]


def panels(dashboard: Json) -> Iterator[Json]:
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def targets(dashboard: Json) -> Iterator[tuple[Json, Json]]:
    return ((panel, target) for panel in panels(dashboard) for target in panel["targets"])


def series_of(expression: str) -> list[str]:
    return re.findall(r"\b(?:rcnn[_:][\w:]+|ALERTS)", expression)


def grouping_of(expression: str) -> set[str]:
    """Every label an expression groups by."""
    return {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}


def recording_rules() -> Iterator[Json]:
    for path in (ROOT / "helm/rcnn/rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "record" in rule)


@pytest.fixture(params=DASHBOARDS, ids=lambda build: build.__name__)
def dashboard(request: pytest.FixtureRequest) -> Json:
    return to_json(request.param())


def test_expressions_name_only_metrics_the_service_promises(dashboard: Json) -> None:
    """A graph of a metric that does not exist stays empty and nobody notices."""
    for panel, target in targets(dashboard):
        named = series_of(target["expr"])
        assert named, panel["title"]
        assert set(named) <= SERIES.keys(), panel["title"]


def test_expressions_use_only_labels_their_metric_has(dashboard: Json) -> None:
    """Grouping by a label that is not there gives one nameless line; matching on it gives none."""
    for panel, target in targets(dashboard):
        expression = target["expr"]
        for series, matchers in re.findall(r"(rcnn[_:][\w:]+|ALERTS)\{([^}]*)\}", expression):
            matched = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers))
            assert matched <= SERIES[series] | SCRAPE_LABELS, (panel["title"], series)
        for series in series_of(expression):
            assert grouping_of(expression) <= SERIES[series] | SCRAPE_LABELS | {"le"}, (panel["title"], series)


def test_legends_use_only_labels_that_survive_the_grouping(dashboard: Json) -> None:
    """{{label}} of a label that was summed away shows as an empty name."""
    for panel, target in targets(dashboard):
        if panel["type"] == "heatmap":
            assert target["legendFormat"] == "{{le}}"
            continue
        wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = grouping_of(target["expr"])
        assert wanted <= grouped - {"le"}, panel["title"]
        assert wanted == grouped - {"le"} or panel["type"] == "table", panel["title"]


def test_only_the_agreed_variables_are_used(dashboard: Json) -> None:
    """Whoever opens a dashboard chooses a data source, a namespace and a model, and for costs types a price."""
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard).replace("$__all", "")))
    assert VARIABLES - {"pod_price", "samples_url"} <= used <= VARIABLES
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert declared == used - {"__rate_interval"}


def test_every_query_is_narrowed_to_the_chosen_namespace_and_model(dashboard: Json) -> None:
    """One team's dashboard does not show another team's pods."""
    for panel, target in targets(dashboard):
        selected = re.findall(r"(rcnn[_:][\w:]+)\{([^}]*)\}", target["expr"])
        constant = {"rcnn:slo_budget:ratio"}  # the same in every namespace
        assert {series for series, _ in selected} | constant >= {*series_of(target["expr"])} - {"ALERTS"}, panel[
            "title"
        ]
        for series, matchers in selected:
            assert 'namespace=~"$namespace"' in matchers, panel["title"]
            assert ('model=~"$model"' in matchers) == ("model" in SERIES[series]), panel["title"]


def test_counters_are_read_as_rates_over_the_rate_interval(dashboard: Json) -> None:
    """A raw counter or a lifetime mean hides what happens now; a fixed window breaks at other scrape intervals."""
    for panel, target in targets(dashboard):
        expression = target["expr"]
        rated = re.findall(r"rate\((rcnn_\w+)\{[^}]*\}\[\$__rate_interval\]\)", expression)
        counted = [series for series in series_of(expression) if series not in GAUGES | RECORDED]
        assert rated == counted, panel["title"]
        assert expression.count("[") == len(rated), panel["title"]


def test_quantiles_sum_buckets_by_le(dashboard: Json) -> None:
    """Quantiles of one pod cannot be averaged: buckets are summed first, and le must survive the sum."""
    for panel, target in targets(dashboard):
        if "histogram_quantile" in target["expr"]:
            assert re.match(r"histogram_quantile\(0\.\d+, sum by \(le[,)]", target["expr"]), panel["title"]
        if panel["type"] == "heatmap":
            assert re.match(r"sum by \(le\) \(rate\(\w+_bucket", target["expr"]), panel["title"]
        else:
            assert ("_bucket" in target["expr"]) == ("histogram_quantile" in target["expr"]), panel["title"]


def test_every_panel_has_a_unit_and_says_which_question_it_answers(dashboard: Json) -> None:
    """At three in the morning nobody should have to guess what an axis means or what the graph is for."""
    for panel in panels(dashboard):
        assert panel["fieldConfig"]["defaults"]["unit"] in set(Unit), panel["title"]
        question, blank, reading = panel["description"].split("\n")
        assert question.endswith("?") and not blank and reading.endswith("."), panel["title"]


def test_titles_and_ids_are_unique_and_panels_do_not_overlap(dashboard: Json) -> None:
    """Grafana drops or hides panels otherwise, without a word."""
    everything = dashboard["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in everything)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) == 23


def test_the_metrics_queries_are_built_from_are_the_promised_ones() -> None:
    """Kind and labels of each metric here agree with the service's contract."""
    promised = {metrics.Counter: COUNTERS, metrics.Histogram: HISTOGRAMS, metrics.Gauge: GAUGES | RECORDED}
    known = [value for value in vars(metrics).values() if isinstance(value, metrics.Metric)]
    assert known
    for metric in known:
        assert promised[type(metric)][metric.name] == set(metric.labels), metric.name


def test_the_service_exposes_every_metric_that_is_graphed() -> None:
    """A metric renamed or retyped in the service or the judge breaks here, not in the graph."""
    registries = Metrics().registry, JudgeMetrics().registry
    kinds = {family.name: family.type for registry in registries for family in registry.collect()}
    expected = {metrics.Counter: "counter", metrics.Histogram: "histogram", metrics.Gauge: "gauge"}
    recorded = {rule["record"] for rule in recording_rules()} | {"ALERTS"}
    for metric in (value for value in vars(metrics).values() if isinstance(value, metrics.Metric)):
        if metric.name in recorded | NOT_ALWAYS:
            continue
        assert kinds.get(metric.name.removesuffix("_total")) == expected[type(metric)], metric.name


def test_links_of_panels_lead_to_the_runbook_they_name() -> None:
    """By the number of its panel, which holds its words."""
    pages = {f"/d/rcnn-runbooks?viewPanel={panel['id']}": panel for panel in panels(to_json(runbooks()))}  # type: ignore[arg-type]
    links = [link for build in DASHBOARDS for panel in panels(to_json(build())) for link in panel["links"]]
    led = [(link["title"].removeprefix("Runbook: "), pages[link["url"]]) for link in links if link["url"] in pages]
    assert len(led) > 25 and {link["url"] for link in links} - pages.keys() == {
        "/d/rcnn-runbooks",
        "${samples_url:raw}",
    }
    for alert, page in led:
        assert page["title"] == alert
        meaning = (ROOT / f"deploy/runbooks/{alert}.md").read_text().split("## Meaning")[1].split("##")[0]
        assert meaning.split(".")[0].split("[")[0] in page["options"]["content"]


def test_the_runbooks_can_be_read_in_grafana_and_their_links_stay_there() -> None:
    pages = list(panels(to_json(runbooks())))
    assert {page["title"] for page in pages} == {"Before you begin"} | {path.stem for path in PAGES.glob("Rcnn*.md")}
    targets = {target for page in pages for target in re.findall(r"\]\(([^)]+)\)", page["options"]["content"])}
    known = {f"/d/{build().uid}" for build in DASHBOARDS}
    assert {target for target in targets if not re.fullmatch(r"/d/rcnn-runbooks\?viewPanel=\d+", target)} <= known
    with pytest.raises(ValueError, match=r"no runbook RcnnUnheardOf\.md"):
        runbook("RcnnUnheardOf")


@pytest.mark.parametrize(
    "needed",
    [
        "rcnn_requests_total",
        "rcnn_request_duration_seconds_bucket",
        "rcnn_stage_duration_seconds_bucket",
        "rcnn_in_flight_requests",
        "rcnn_queue_depth",
        "rcnn_queued_work_seconds",
        "rcnn_batch_size_sum",
        "rcnn_batch_padding_ratio_sum",
        "rcnn_shed_total",
        "rcnn_rejected_inputs_total",
        "rcnn_detections_per_image_sum",
        "rcnn_model_info",
        "rcnn_gpu_utilization_ratio",
        "rcnn_gate_decision",
    ],
)
def test_on_call_shows_what_on_call_needs(needed: str) -> None:
    """Each of these answers a question that gets asked during an incident."""
    assert any(needed in series_of(target["expr"]) for _, target in targets(to_json(oncall())))


def test_quantiles_means_and_rates_read_as_written() -> None:
    """The three shapes of query, in full."""
    assert rate(metrics.SHED, "reason") == (
        'sum by (reason) (rate(rcnn_shed_total{namespace=~"$namespace"}[$__rate_interval]))'
    )
    assert quantile(0.99, metrics.BATCH_SIZE) == (
        "histogram_quantile(0.99, sum by (le) "
        '(rate(rcnn_batch_size_bucket{namespace=~"$namespace", model=~"$model"}[$__rate_interval])))'
    )
    assert mean(metrics.BATCH_SIZE) == (
        'sum(rate(rcnn_batch_size_sum{namespace=~"$namespace", model=~"$model"}[$__rate_interval])) / '
        'sum(rate(rcnn_batch_size_count{namespace=~"$namespace", model=~"$model"}[$__rate_interval]))'
    )


def test_a_query_by_an_unknown_label_cannot_be_built() -> None:
    """The mistake is found when the dashboard is rendered, not when someone needs it."""
    with pytest.raises(ValueError, match="rcnn_shed_total has no label outcome; it has reason"):
        rate(metrics.SHED, "outcome")


def test_a_panel_without_a_question_or_a_query_cannot_be_built() -> None:
    """A graph that answers nothing is not drawn."""
    query = Query("up", "up")
    with pytest.raises(ValueError, match="which question it answers"):
        TimeSeries("Up", "Pods.", "More is better.", Unit.COUNT, (query,))
    with pytest.raises(ValueError, match="has no query"):
        TimeSeries("Up", "How many pods are up?", "More is better.", Unit.COUNT, ())


def test_panels_wrap_when_a_line_is_full() -> None:
    """Placement follows from order and size alone."""
    wide: tuple[Panel, ...] = tuple(
        TimeSeries(f"P{i}", "What is up?", "All.", Unit.COUNT, (Query("up", "up"),), width=10) for i in range(3)
    )
    dashboard = oncall()
    drawn = to_json(type(dashboard)("u", "t", "d", (), (Section("One", wide), Section("Two", wide[:1]))))
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in drawn["panels"]]  # type: ignore[attr-defined]
    assert places == [(0, 0), (0, 1), (10, 1), (0, 9), (0, 17), (0, 18)]


def test_the_committed_json_is_what_the_code_renders() -> None:
    """Nobody edits the generated file, and nobody forgets to render it."""
    for build in DASHBOARDS:
        assert (ROOT / COMMITTED / f"{build().uid}.json").read_text() == to_text(build())
    assert (ROOT / COMMITTED / "reading/rcnn-runbooks.json").read_text() == to_text(runbooks())


def test_check_tells_a_stale_file_from_a_fresh_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check writes nothing, exits 1 when the file is missing or differs, and says how to mend it."""
    out = ["--out", str(tmp_path)]
    assert main([*out, "--check"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert main(out) == 0
    assert main([*out, "--check"]) == 0
    written = tmp_path / "rcnn-oncall.json"
    written.write_text(written.read_text().replace("rcnn_shed_total", "rcnn_shed"))
    capsys.readouterr()
    assert main([*out, "--check"]) == 1
    assert "rcnn-oncall.json is not what the code renders: run python -m deploy.dashboards" in capsys.readouterr().err
