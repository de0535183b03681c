"""`rcnn gate rollout` against a real API server: its account's rights, its routes' definitions, its conflicts."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cluster import layout
from deploy.judge.routes import Cluster, Route, RouteInvalid, Split, TakenOver
from deploy.judge.steps import Steps, climb
from deploy.judge.verdict import Decision, Verdict, decide
from tests.cluster.kubernetes import ROOT, Object, get, run, until
from tests.unit.deploy.judge.test_rollout import BAD, GOOD

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

API = f"https://{layout.ADDRESSES['apiserver']}"
KINDS = ("HTTPRoute", "GRPCRoute")


def route(kind: str, namespace: str) -> Object:
    """As the chart renders it for a canary by hand."""
    port = 8000 if kind == "HTTPRoute" else 8001
    backends = [{"name": name, "port": port, "weight": weight} for name, weight in (("rcnn", 100), ("rcnn-next", 0))]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "rcnn", "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": [f"{kind.lower()}.example.com"],
            "rules": [{"backendRefs": backends}],
        },
    }


def role(namespace: str, verbs: list[str]) -> list[Object]:
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes", "grpcroutes"], "verbs": verbs}]
    named = {"name": "gate", "namespace": namespace}
    subject = {"kind": "ServiceAccount", "name": "gate", "namespace": namespace}
    reference = {"apiGroup": group, "kind": "Role", "name": "gate"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": named, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": named,
            "subjects": [subject],
            "roleRef": reference,
        },
    ]


def apply(objects: list[Object]) -> None:
    run("kubectl", "apply", "--filename=-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture
def token_file(namespace: str, tmp_path: Path) -> Path:
    """Of an account that may do what docs/canary-statistics.md says it needs, and no more."""
    apply([*role(namespace, ["get", "patch"]), *(route(kind, namespace) for kind in KINDS)])
    file = tmp_path / "token"
    file.write_text(run("kubectl", "--namespace", namespace, "create", "token", "gate"))
    return file


@pytest.fixture
def split(namespace: str, token_file: Path) -> Split:
    cluster = Cluster(API, token_file, layout.certificate("ca"), pause_s=0.1)
    return Split(cluster, [Route(kind, namespace, "rcnn") for kind in KINDS], "rcnn", "rcnn-next")


def weights(namespace: str) -> list[int]:
    """The candidate's, on both routes."""
    routes = (get(namespace, kind, "rcnn") for kind in KINDS)
    return [route["spec"]["rules"][0]["backendRefs"][1]["weight"] for route in routes]


def climbed(split: Split, *verdicts: Verdict) -> list[str]:
    """What it told, in order."""
    seen, told = iter(verdicts), list[str]()
    climb(split, Steps((5, 25, 50), 0, 0, 0, Decision.UNDECIDED), lambda: next(seen), told.append)
    return told


def test_a_good_candidate_climbs_to_all_traffic_and_a_bad_one_falls_to_none(namespace: str, split: Split) -> None:
    split.check()
    assert "25 % to the canary" in climbed(split, GOOD, GOOD, GOOD)
    assert weights(namespace) == [100, 100]
    split.shift(0)
    climbed(split, GOOD, BAD)
    assert weights(namespace) == [0, 0]


def test_changes_others_make_at_the_same_time_are_kept(namespace: str, split: Split) -> None:
    ended = threading.Event()
    written: list[int] = []

    def annotate() -> None:
        while not ended.is_set():
            written.append(len(written))
            change = f"theirs={written[-1]}"
            run("kubectl", "--namespace", namespace, "annotate", "--overwrite", "httproute", "rcnn", change)

    other = threading.Thread(target=annotate)
    other.start()
    try:
        for weight in range(1, 41):
            split.shift(weight, weight - 1)
    finally:
        ended.set()
        other.join()
    assert weights(namespace) == [40, 40]
    assert get(namespace, "httproute", "rcnn")["metadata"]["annotations"]["theirs"] == str(written[-1])


def test_weights_a_person_has_set_stay(namespace: str, split: Split) -> None:
    split.shift(5, 0)
    patch = '[{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 1}]'
    run("kubectl", "--namespace", namespace, "patch", "httproute", "rcnn", "--type=json", f"--patch={patch}")
    with pytest.raises(TakenOver, match="weight 1, not 5"):
        split.shift(25, 5)
    assert weights(namespace)[0] == 1


def test_an_account_without_the_right_to_patch_is_told_so_in_the_api_s_words(namespace: str, split: Split) -> None:
    apply(role(namespace, ["get"]))
    with pytest.raises(RouteInvalid, match=r"403 .*cannot patch"):
        split.shift(5, 0)


@pytest.fixture
def gate(namespace: str, token_file: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command itself, with a Prometheus that cannot be asked: undecided until its horizon."""
    command = [sys.executable, "-m", "service.cli", "gate", "rollout", "--prometheus=http://127.0.0.1:9"]
    command += ["--candidate=v2", f"--namespace={namespace}", "--stable=rcnn", "--canary=rcnn-next"]
    command += ["--http-route=rcnn", "--grpc-route=rcnn", "--horizon-minutes=0.5", "--every-s=1", "--least-s=0"]
    command += [f"--api={API}", f"--token-file={token_file}", f"--ca-file={layout.certificate('ca')}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield process
    process.kill()
    process.wait()


def test_the_command_gives_all_traffic_back_when_nothing_can_be_measured(
    namespace: str, gate: "subprocess.Popen[str]"
) -> None:
    until(lambda: weights(namespace) == [5, 5], 60, "the first weight")
    said, _ = gate.communicate(timeout=120)
    assert gate.returncode == 3, said
    assert weights(namespace) == [0, 0]


def test_the_command_gives_all_traffic_back_when_it_is_stopped(namespace: str, gate: "subprocess.Popen[str]") -> None:
    until(lambda: weights(namespace) == [5, 5], 60, "the first weight")
    began_s = time.monotonic()
    gate.send_signal(signal.SIGTERM)
    said, _ = gate.communicate(timeout=60)
    assert gate.returncode == 3, said
    assert weights(namespace) == [0, 0]
    print(f"all traffic back {time.monotonic() - began_s:.1f} s after SIGTERM")


def test_what_is_undecided_never_reaches_the_routes(namespace: str, split: Split) -> None:
    climbed(split, decide({}, [], ["nothing counted"]))
    assert weights(namespace) == [0, 0]
