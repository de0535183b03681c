"""Every graph, asked of a real Prometheus that has watched the real service under load."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.dashboards.__main__ import DASHBOARDS
from deploy.dashboards.expand import expand
from deploy.dashboards.grafana import Dashboard, Panel
from deploy.drill.prometheus import Prometheus
from deploy.drill.stage import stage
from deploy.drill.traffic import Ask, traffic
from loadtests.serving import serving

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "model/zoo"

NOT_HERE = re.compile(r"rcnn_(gpu|drift|shadow)_")
"""Series of a GPU, of drift and of a candidate: this service has none of them."""

pytestmark = pytest.mark.slow


def mixed(number: int) -> Ask:
    """Mostly ordinary requests to both models; some broken, hurried or impatient ones."""
    nuclei = sorted(GOLDEN.glob("nuclei/1/golden/*.png"))
    cells = sorted(GOLDEN.glob("blood-cells/1/golden/*.jpg"))
    match number % 8:
        case 5:
            return Ask("nuclei", b"no picture")
        case 6:
            return Ask("nuclei", nuclei[0].read_bytes(), {"X-Request-Timeout-Ms": "1"})
        case 7:
            return Ask("nuclei", nuclei[1].read_bytes(), patience_s=0.03)
        case 1 | 3:
            return Ask("blood-cells", cells[number % 3].read_bytes(), {"Content-Type": "image/jpeg"})
    return Ask("nuclei", nuclei[number % 3].read_bytes())


@pytest.fixture(scope="module")
def watched() -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        advice = "no prometheus: run make tools"
        pytest.fail(advice) if os.environ.get("CI") else pytest.skip(advice)
    with stage() as here, serving({**here.ports, "engine": "onnx"}), traffic(here.url, 6, mixed):
        time.sleep(18)
        yield here.prometheus


@pytest.mark.parametrize("dashboard", [build() for build in DASHBOARDS], ids=lambda dashboard: dashboard.uid)
def test_every_panel_returns_data(watched: Prometheus, dashboard: Dashboard) -> None:
    """And what cannot have data here still parses."""
    empty = []
    for panel in (panel for section in dashboard.sections for panel in section.panels):
        assert isinstance(panel, Panel)
        for query in panel.queries:
            found = watched.now(expand(query.expression, "4s"))
            numbers = [value for series in found for value in series.values if value == value]
            if not numbers and not NOT_HERE.search(query.expression):
                empty.append((panel.title, query.expression))
    assert empty == []


def test_every_rule_evaluates_without_an_error(watched: Prometheus) -> None:
    """Sixty times as fast as deployed; errors would be many-to-many matches that only real series show."""
    assert watched.rule_errors() == {}
    assert watched.now('count({__name__=~"rcnn:.+"})')[0].values[0] > 50
