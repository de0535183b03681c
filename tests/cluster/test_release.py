"""A release's life: install, test, upgrade, roll back, uninstall."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.cluster.kubernetes import CHART, ROOT, get, pods, run, until
from tests.cluster.load import steady_load

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

VALUES = Path(__file__).parent / "values.yaml"
PICTURE = ROOT / "model/zoo/blood-cells"


def log_level(namespace: str) -> str:
    (container,) = pods(namespace)[0]["spec"]["containers"]
    level: str = {variable["name"]: variable.get("value") for variable in container["env"]}["RCNN_LOG_LEVEL"]
    return level


def test_a_release_installs_passes_its_tests_upgrades_rolls_back_and_leaves_nothing(
    helm: Callable[..., str], namespace: str
) -> None:
    release = ("rcnn", str(CHART), "--namespace", namespace, "--values", str(VALUES), "--wait", "--timeout", "5m")
    helm("install", *release)
    assert log_level(namespace) == "info"
    assert "Succeeded" in helm("test", "rcnn", "--namespace", namespace, "--timeout", "3m")

    with steady_load(f"http://rcnn.{namespace}:8000") as during_upgrade:
        helm("upgrade", *release, "--set", "settings.logLevel=warning")
    assert log_level(namespace) == "warning"
    assert during_upgrade.failures() == []

    with steady_load(f"http://rcnn.{namespace}:8000") as during_rollback:
        helm("rollback", "rcnn", "1", "--namespace", namespace, "--wait", "--timeout", "5m")
    assert log_level(namespace) == "info"
    assert during_rollback.failures() == []

    helm("uninstall", "rcnn", "--namespace", namespace, "--wait", "--timeout", "3m")
    # helm waits for the objects that are its own; their pods still finish what they have accepted.
    until(lambda: left_behind(namespace) == [], 60, "nothing left")


def left_behind(namespace: str) -> list[str]:
    kinds = "all,serviceaccounts,poddisruptionbudgets,networkpolicies,secrets,configmaps"
    listed = get(namespace, kinds, "--selector=app.kubernetes.io/instance=rcnn")["items"]
    return [f"{item['kind']}/{item['metadata']['name']}" for item in listed]


def test_the_namespace_would_refuse_a_pod_that_asks_for_more(namespace: str) -> None:
    bold = ["kubectl", "--namespace", namespace, "run", "bold", "--image=localhost/rcnn:0.1.0"]
    refused = subprocess.run(bold, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_one_pod_at_a_time_may_be_evicted(helm_4: Callable[..., str], namespace: str) -> None:
    two = ("--values", str(VALUES), "--set", "replicas=2", "--wait", "--timeout", "5m")
    helm_4("install", "rcnn", str(CHART), "--namespace", namespace, *two)
    first, second = (pod["metadata"]["name"] for pod in pods(namespace))
    evict = ["kubectl", "create", "--filename=-", "--raw"]

    def eviction(pod: str) -> subprocess.CompletedProcess[str]:
        asked = f'{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}'
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        return subprocess.run([*evict, path], input=asked, capture_output=True, text=True, check=False)

    assert eviction(first).returncode == 0
    assert "disruption budget" in eviction(second).stderr


def test_a_client_and_the_pod_speak_tls(helm_4: Callable[..., str], namespace: str, tls_secret: Path) -> None:
    secure = ("--values", str(VALUES), "--set", "tls.secretName=rcnn-tls", "--wait", "--timeout", "5m")
    helm_4("install", "rcnn", str(CHART), "--namespace", namespace, *secure)
    trust = ssl.create_default_context(cafile=tls_secret)
    picture = next(path for path in sorted(PICTURE.glob("*/golden/*")) if path.suffix in (".jpg", ".png"))
    with httpx.Client(base_url=f"https://rcnn.{namespace}:8000", verify=trust, timeout=60) as client:
        answer = client.post("/v1/models/blood-cells/detect", content=picture.read_bytes())
        torn = client.post("/v1/models/blood-cells/detect", content=picture.read_bytes()[:700])
    assert answer.json()["detections"]
    assert torn.status_code == 422
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://rcnn.{namespace}:8000/readyz")
    assert "Succeeded" in helm_4("test", "rcnn", "--namespace", namespace, "--timeout", "3m")


@pytest.fixture
def tls_secret(namespace: str, tmp_path: Path) -> Path:
    """The certificate of the authority that signed the one in the Secret rcnn-tls."""
    subject = f"/CN=rcnn.{namespace}"
    files = ("-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt"))
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject)
    run("openssl", "req", *made, "-addext", f"subjectAltName=DNS:rcnn.{namespace}", *files)
    keys = (f"--cert={tmp_path}/tls.crt", f"--key={tmp_path}/tls.key")
    run("kubectl", "--namespace", namespace, "create", "secret", "tls", "rcnn-tls", *keys)
    return tmp_path / "tls.crt"
