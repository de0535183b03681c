"""The real controller of HorizontalPodAutoscalers, on our own signal."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.kubernetes import CHART, get, run, until
from tests.cluster.load import steady_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

VALUES = Path(__file__).parent / "values.yaml"
SCALED = {
    "autoscaling.kind": "hpa",
    "autoscaling.minReplicas": "1",
    "autoscaling.maxReplicas": "3",
    "autoscaling.scaleDownAfterSeconds": "60",
    # A share of a core each, so that more pods do more, also on a machine with few cores.
    "resources.limits.cpu": "500m",
}


class Watched:
    """Wanted and ready pods and the signal, whenever one of them has changed; printed, for the documentation."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._started_s = time.monotonic()
        self._last: tuple[object, ...] = ()

    def ready(self) -> int:
        status = get(self._namespace, "deployment", "rcnn")["status"]
        scaler = get(self._namespace, "horizontalpodautoscaler", "rcnn")["status"]
        signals = [m["pods"]["current"]["averageValue"] for m in scaler.get("currentMetrics") or [] if "pods" in m]
        seen = (scaler.get("desiredReplicas", 0), status.get("readyReplicas", 0))
        if seen != self._last:
            self._last = seen
            after_s = time.monotonic() - self._started_s
            print(
                f"{after_s:5.0f} s  wanted {seen[0]}  ready {seen[1]}  queued work a pod {' '.join(signals)}",
                flush=True,
            )
        return int(seen[1])


def test_pods_come_with_queued_work_and_go_when_it_is_done(helm_4: Callable[..., str], namespace: str) -> None:
    sets = [f"--set={name}={value}" for name, value in SCALED.items()]
    helm_4("install", "rcnn", str(CHART), "--namespace", namespace, "--values", str(VALUES), *sets, "--wait")
    signal = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/rcnn_queued_work_seconds"
    until(lambda: namespace in run("kubectl", "get", "--raw", signal), 60, "the metric in the apiserver")

    watched = Watched(namespace)
    assert watched.ready() == 1
    with steady_load(f"http://rcnn.{namespace}:8000", rate_per_s=20) as load:
        until(lambda: watched.ready() == 3, 400, "three pods")
    print("load ends")
    until(lambda: watched.ready() == 1, 400, "one pod again")
    expected = {200, 429, 504}  # answered, refused for overload, or too late
    assert [outcome for outcome in load.outcomes if outcome not in expected] == []
