"""The real controller of HorizontalPodAutoscalers, on our own signal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.kubernetes import CHART, get, run, until
from tests.cluster.load import steady_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

VALUES = Path(__file__).parent / "values.yaml"
SCALED = {
    "autoscaling.kind": "hpa",
    "autoscaling.minReplicas": "1",
    "autoscaling.maxReplicas": "3",
    "autoscaling.scaleDownAfterSeconds": "15",
    # A share of a core each, so that more pods do more, also on a machine with few cores.
    "resources.limits.cpu": "300m",
}


def test_pods_come_with_queued_work_and_go_when_it_is_done(helm_4: Callable[..., str], namespace: str) -> None:
    sets = [f"--set={name}={value}" for name, value in SCALED.items()]
    helm_4("install", "rcnn", str(CHART), "--namespace", namespace, "--values", str(VALUES), *sets, "--wait")
    signal = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/rcnn_queued_work_seconds"
    until(lambda: namespace in run("kubectl", "get", "--raw", signal), 60, "the metric in the apiserver")

    def replicas() -> int:
        count: int = get(namespace, "deployment", "rcnn")["status"].get("readyReplicas", 0)
        return count

    assert replicas() == 1
    with steady_load(f"http://rcnn.{namespace}:8000", rate_per_s=10) as load:
        until(lambda: replicas() == 3, 300, "three pods")
    assert set(load.outcomes) <= {200, 429}, "refused for overload, or answered: nothing else"
    until(lambda: replicas() == 1, 400, "one pod again")
