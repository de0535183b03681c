"""The real controller of HorizontalPodAutoscalers, on our own signal."""

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from deploy.e2e.accounts import account
from deploy.e2e.traffic import Traffic
from loadtests.driver import Target
from loadtests.pictures import read_pictures
from tests.cluster.kubernetes import CHART, get, run, until
from tests.cluster.load import ZOO, steady_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]

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
        self._last = (0, 0)

    @property
    def wanted(self) -> int:
        """By the autoscaler, when it was looked at last."""
        return self._last[0]

    def ready(self) -> int:
        status = get(self._namespace, "deployment", "rcnn")["status"]
        scaler = get(self._namespace, "horizontalpodautoscaler", "rcnn")["status"]
        signals = [m["pods"]["current"]["averageValue"] for m in scaler.get("currentMetrics") or [] if "pods" in m]
        seen = int(scaler.get("desiredReplicas", 0)), int(status.get("readyReplicas", 0))
        if seen != self._last:
            self._last = seen
            after_s = time.monotonic() - self._started_s
            print(
                f"{after_s:5.0f} s  wanted {seen[0]}  ready {seen[1]}  a pod {' '.join(signals)}",
                flush=True,
            )
        return seen[1]


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


STEADY: dict[str, object] = {
    "autoscaling.kind": "hpa",
    "autoscaling.minReplicas": 1,
    "autoscaling.maxReplicas": 5,
    "autoscaling.queuedWorkSeconds": 0.8,
    "autoscaling.inFlightImages": 8,
    # A batch of at most 8 takes 0.4 s without a processor, so that a pod answers 20 a second on any machine.
    "settings.engine": "fake",
    "settings.fakeEngineDelayMs": 400,
    "settings.maxInFlight": 256,
}
RISING_PER_S, STEADY_PER_S, STEADY_S = 18.0, 24.0, 900.0


def test_steady_load_makes_no_pod_come_and_go(helm_4: Callable[..., str], namespace: str, tmp_path: Path) -> None:
    """
    It rises to more than one pod can do: up, perhaps down again to what is enough, and then nothing for a quarter of an
    hour.
    """
    sets = as_arguments(STEADY)
    helm_4("install", "rcnn", str(CHART), "--namespace", namespace, "--values", str(VALUES), *sets, "--wait")
    pictures = read_pictures(sorted(ZOO.glob("blood-cells/*/golden"))[0])
    target = Target(f"http://rcnn.{namespace}:8000", timeout_s=30, deadline_ms=25_000)
    watched = Watched(namespace)
    with Traffic("steady", target, pictures, RISING_PER_S, tmp_path / "requests.jsonl") as traffic:
        until(lambda: watched.ready() >= 2, 240, "a second pod")
        traffic.change_rate(STEADY_PER_S)
        wanted = [(time.monotonic(), watched.wanted)]
        while time.monotonic() < wanted[-1][0] + STEADY_S:
            traffic.check()
            watched.ready()
            if watched.wanted != wanted[-1][1]:
                wanted.append((time.monotonic(), watched.wanted))
            assert turns([1, *(pods for _, pods in wanted)]) <= 1, wanted
            time.sleep(5)
    print(account(traffic.asked, ()))
    assert account(traffic.asked, ()).is_clean


def as_arguments(values: dict[str, object]) -> list[str]:
    """For helm, to which a fraction after --set is a string."""
    return [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]


def turns(pods: list[int]) -> int:
    """How often it went the other way."""
    steps = [after > before for before, after in pairwise(pods)]
    return sum(one != other for one, other in pairwise(steps))
