"""Every graph, asked of a real Prometheus that has watched the real service under load."""

import os
import shutil
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.dashboards.__main__ import DASHBOARDS
from deploy.dashboards.expand import expand
from deploy.dashboards.grafana import Dashboard, Panel
from deploy.drill.prometheus import Prometheus
from deploy.drill.scene import everything

RATE_INTERVAL_S = 12
"""In which the scene sends each kind of request."""
_PATIENCE_S = 180.0

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "neither drift nor a verdict in time"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def watched() -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        advice = "no prometheus: run make tools"
        pytest.fail(advice) if os.environ.get("CI") else pytest.skip(advice)
    with everything() as prometheus:
        until(lambda: bool(prometheus.now("rcnn_drift_psi") and prometheus.now("rcnn_gate_pairs > 0")))
        time.sleep(RATE_INTERVAL_S)
        yield prometheus


@pytest.mark.parametrize("dashboard", [build() for build in DASHBOARDS], ids=lambda dashboard: dashboard.uid)
def test_every_panel_returns_data(watched: Prometheus, dashboard: Dashboard) -> None:
    empty = []
    for panel in (panel for section in dashboard.sections for panel in section.panels):
        assert isinstance(panel, Panel)
        for query in panel.queries:
            found = watched.now(expand(query.expression, f"{RATE_INTERVAL_S}s"))
            numbers = [value for series in found for value in series.values if value == value]
            if not numbers:
                empty.append((panel.title, query.expression))
    assert empty == []


def test_every_rule_evaluates_without_an_error(watched: Prometheus) -> None:
    """Sixty times as fast as deployed; errors would be many-to-many matches that only real series show."""
    assert watched.rule_errors() == {}
    assert watched.now('count({__name__=~"rcnn:.+"})')[0].values[0] > 50
