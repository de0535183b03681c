"""Both routes through a real Gateway: callers that keep their connection, while pods are replaced behind it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from deploy.cluster import layout
from service.api.grpc.proto import detection_pb2 as pb
from service.api.grpc.proto import detection_pb2_grpc as pb_grpc
from tests.cluster.kubernetes import CHART, pods, until
from tests.cluster.load import ZOO

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

VALUES = Path(__file__).parent / "values.yaml"
GATEWAY = layout.ADDRESSES["gateway"]
PICTURE = next(path for path in sorted(ZOO.glob("blood-cells/*/golden/*")) if path.suffix in (".jpg", ".png"))
PER_S = 4.0
Ask = Callable[[], str]


@contextmanager
def keeps_asking(ask: Ask) -> Iterator[list[str]]:
    """What each call came to: "ok", or what went wrong. One after another, so that they share a connection."""
    outcomes, end = list[str](), threading.Event()

    def loop() -> None:
        while not end.wait(1 / PER_S):
            outcomes.append(ask())

    asking = threading.Thread(target=loop)
    asking.start()
    try:
        yield outcomes
    finally:
        end.set()
        asking.join()


def rest_caller(host: str, until_end: ExitStack) -> Ask:
    client = until_end.enter_context(httpx.Client(base_url=f"http://{GATEWAY}", headers={"Host": host}, timeout=30))
    body = PICTURE.read_bytes()

    def ask() -> str:
        try:
            answer = client.post("/v1/detect", content=body)
        except httpx.TransportError as problem:
            return repr(problem)
        return "ok" if answer.status_code == 200 and "detections" in answer.json() else f"{answer.status_code}"

    return ask


def grpc_caller(host: str, until_end: ExitStack) -> Ask:
    options = [("grpc.default_authority", host), ("grpc.enable_retries", 0)]
    channel = until_end.enter_context(grpc.insecure_channel(GATEWAY, options=options))
    stub, asked = pb_grpc.DetectionServiceStub(channel), pb.DetectRequest(image=PICTURE.read_bytes())

    def ask() -> str:
        try:
            stub.Detect(asked, timeout=30)
        except grpc.RpcError as problem:
            return str(problem)
        return "ok"

    return ask


def answered_by(namespace: str, protocol: str) -> dict[str, float]:
    """{pod: requests of one door that it has answered}."""
    counts = {}
    for pod in pods(namespace):
        lines = httpx.get(f"http://{pod['status']['podIP']}:8002/metrics", timeout=10).text.splitlines()
        ours = [line for line in lines if line.startswith("rcnn_requests_total{") and f'protocol="{protocol}"' in line]
        counts[pod["metadata"]["name"]] = sum(float(line.split()[1]) for line in ours)
    return counts


def test_callers_on_kept_connections_lose_nothing_while_a_release_goes_out(
    helm_4: Callable[..., str], namespace: str
) -> None:
    rest, rpc = f"rest.{namespace}.e2e", f"grpc.{namespace}.e2e"
    routed = ["--set-json", 'gateway.parentRefs=[{"name":"public","namespace":"gateways"}]']
    routed += ["--set", f"gateway.http.enabled=true,gateway.http.hostnames={{{rest}}}"]
    routed += ["--set", f"gateway.grpc.enabled=true,gateway.grpc.hostnames={{{rpc}}}"]
    release = ["rcnn", str(CHART), "--namespace", namespace, "--values", str(VALUES), *routed]
    # The chart's own sleep: the Gateway must have taken a pod out before its gRPC door says that it goes.
    release += ["--set", "replicas=2,settings.engine=fake,preStopSleepSeconds=10", "--wait", "--timeout=5m"]
    helm_4("install", *release)
    with ExitStack() as until_end:
        callers = {"rest": rest_caller(rest, until_end), "grpc": grpc_caller(rpc, until_end)}
        until(lambda: {ask() for ask in callers.values()} == {"ok"}, 60, "an answer through both routes")
        asked = {name: until_end.enter_context(keeps_asking(ask)) for name, ask in callers.items()}
        until(lambda: min(min(answered_by(namespace, name).values()) for name in callers) > 2, 60, "both pods answer")
        helm_4("upgrade", *release, "--set", "settings.logLevel=warning")
        helm_4("rollback", "rcnn", "1", "--namespace", namespace, "--wait", "--timeout=5m")
    print({name: len(outcomes) for name, outcomes in asked.items()})
    assert {name: [outcome for outcome in outcomes if outcome != "ok"] for name, outcomes in asked.items()} == {
        "rest": [],
        "grpc": [],
    }
