"""What is bad looks bad."""

from typing import Any

import pytest

from deploy.dashboards.executive import executive
from deploy.dashboards.grafana_json import to_json
from deploy.dashboards.oncall import oncall
from tests.unit.deploy.test_dashboards import panels

NUMBERS = {
    panel["title"]: panel
    for build in (executive, oncall)
    for panel in panels(to_json(build()))
    if panel["type"] == "stat"
}


def colour_of(title: str, value: float) -> str:
    """As Grafana chooses it: the last step reached, the first having no value."""
    steps: list[dict[str, Any]] = NUMBERS[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None and [step["value"] for step in steps[1:]] == sorted(s["value"] for s in steps[1:])
    assert NUMBERS[title]["options"]["colorMode"] == "value"
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


@pytest.mark.parametrize(
    ("title", "value", "colour"),
    [
        ("Error budget left", -140.0, "red"),
        ("Error budget left", 0.1, "orange"),
        ("Error budget left", 0.3, "yellow"),
        ("Error budget left", 0.9, "green"),
        ("Queued work", 0.2, "green"),
        ("Queued work", 6.7, "yellow"),
        ("Shed", 0.0, "green"),
        ("Shed", 1.3, "orange"),
    ],
)
def test_a_number_says_by_its_colour_how_bad_it_is(title: str, value: float, colour: str) -> None:
    assert colour_of(title, value) == colour


def test_a_number_without_a_limit_of_its_own_is_plain() -> None:
    """Latency has an objective for each deployment: no colour is right for all."""
    assert NUMBERS["p95 latency"]["options"]["colorMode"] == "none"
