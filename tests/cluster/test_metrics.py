"""A Prometheus without an operator: scrape by annotation, rules from the cluster's PrometheusRules."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from deploy.cluster.rules import hand_over_rules
from deploy.drill.prometheus import Prometheus
from tests.cluster.kubernetes import CHART, PROMETHEUS, until
from tests.cluster.load import steady_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

VALUES = Path(__file__).parent / "values.yaml"


def test_annotated_pods_are_scraped_and_the_charts_rules_hold_on_what_they_say(
    helm_4: Callable[..., str], namespace: str
) -> None:
    watched = ("--values", str(VALUES), "--set", "metrics.rules.enabled=true", "--wait", "--timeout", "5m")
    helm_4("install", "prod", str(CHART), "--namespace", namespace, *watched)
    prometheus = Prometheus(PROMETHEUS)
    try:
        assert {name.split("/")[0] for name in hand_over_rules()} == {namespace}
        with steady_load(f"http://prod-rcnn.{namespace}:8000") as load:
            of_this = f'{{namespace="{namespace}", job="prod-rcnn"}}'
            until(lambda: prometheus.now(f"rcnn_requests_total{of_this} > 0"), 60, "a scraped request")
            recorded = sorted(name for name in rule_names() if ":" in name)
            assert recorded
            until(lambda: [name for name in recorded if prometheus.now(name + of_this)], 60, "a recorded series")
        assert load.failures() == []
        assert prometheus.rule_errors() == {}
    finally:
        helm_4("uninstall", "prod", "--namespace", namespace, "--wait")
        assert hand_over_rules() == []


def rule_names() -> list[str]:
    groups = httpx.get(f"{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    return [rule["name"] for group in groups for rule in group["rules"]]
