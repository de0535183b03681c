"""What the chart renders, with its defaults and away from them."""

import ast
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm/rcnn"

Render = Callable[..., Any]

VARIATIONS = [
    pytest.param([], id="defaults"),
    pytest.param(["--set", "replicas=1", "--set", "podDisruptionBudget.enabled=false"], id="one-pod"),
    pytest.param(
        ["--set", "model.source=claim,model.claim.name=zoo", "--set", "model.bundles={maskrcnn-r50/3}"],
        id="models-on-a-claim",
    ),
    pytest.param(["--set", "serviceAccount.create=false"], id="account-of-the-namespace"),
    pytest.param(
        ["--set", f"image.digest=sha256:{'0' * 64}", "--set", "imagePullSecrets[0].name=registry"], id="image-by-digest"
    ),
    pytest.param(
        [
            "--set",
            "nodeSelector.disk=ssd",
            "--set",
            "tolerations[0].operator=Exists",
            "--set-json",
            'affinity={"nodeAffinity":{}}',
        ],
        id="chosen-nodes",
    ),
    pytest.param(
        ["--set", "settings.drainTimeoutS=null,settings.logFormat=null,settings.logLevel=null"], id="almost-no-settings"
    ),
]

every_variation = pytest.mark.parametrize("flags", VARIATIONS)


@every_variation
def test_helm_lint_finds_nothing(helm: Path, flags: list[str]) -> None:
    """The chart is well formed by helm's own strict measure, whatever is switched on."""
    linted = subprocess.run([helm, "lint", "--strict", CHART, *flags], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@every_variation
def test_two_renders_are_the_same_to_the_byte(template: Any, flags: list[str]) -> None:
    """Nothing random and no clock is in the templates: a diff of two releases shows what changed, and nothing else."""
    again = template("--skip-crds", *flags)  # there are none; another command line, so that helm is asked anew
    assert template(*flags).stdout == again.stdout != ""


@every_variation
def test_helm_3_renders_the_same_objects(render: Render, helm_3: Path, flags: list[str]) -> None:
    """The chart serves users of both majors of helm, and gives both the same."""
    assert render(*flags) == render(*flags, binary=helm_3)


def test_the_only_place_to_write_is_bounded(render: Render) -> None:
    """The root is read-only; /tmp and the engines' cache are there and cannot fill the node."""
    objects = render()
    assert objects.container["volumeMounts"] == [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "cache", "mountPath": "/var/cache/rcnn"},
    ]
    assert objects.pod["volumes"] == [
        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}},
    ]


def test_the_engines_cache_is_where_a_pod_may_write(render: Render) -> None:
    """By default the volume made for it; elsewhere if the values say so."""
    assert render().environment["RCNN_ENGINE_CACHE"] == "/var/cache/rcnn"
    assert render("--set", "settings.engineCache=/models/cache").environment["RCNN_ENGINE_CACHE"] == "/models/cache"


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]
)
def test_each_probe_asks_its_own_question(render: Render, probe: str, path: str) -> None:
    """Starting, ready and alive are different questions: one answer for all would restart pods that are only busy."""
    asked = render().container[probe]
    assert asked["httpGet"] == {"path": path, "port": "http"}
    assert asked["timeoutSeconds"] <= asked["periodSeconds"]


def test_a_rollout_never_takes_capacity_away(render: Render) -> None:
    """A new pod is ready before an old one goes."""
    assert render().workload["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }


def test_a_stopping_pod_sleeps_without_a_shell(render: Render) -> None:
    """The image has no shell, so the sleep is Kubernetes' own, and the grace period holds sleep, drain and flush."""
    objects = render("--set", "preStopSleepSeconds=7")
    assert objects.container["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert objects.pod["terminationGracePeriodSeconds"] >= 7 + 25 + 5


def test_settings_reach_the_pod_as_environment(render: Render) -> None:
    """Each key becomes its RCNN_ variable, always a string, and a large number stays a number a person can read."""
    environment = render(
        "--set=settings.engine=openvino,settings.maxImageBytes=20971520",
        "--set=settings.defaultTimeoutMs=2000,settings.drainTimeoutS=20",
        "--set-json=settings.maxImageMegapixels=12.5",
        '--set-json=extraEnv=[{"name": "TZ", "value": "UTC"}]',
    ).environment
    assert environment == {
        "RCNN_DEFAULT_TIMEOUT_MS": "2000",
        "RCNN_DRAIN_TIMEOUT_S": "20",
        "RCNN_ENGINE": "openvino",
        "RCNN_ENGINE_CACHE": "/var/cache/rcnn",
        "RCNN_LOG_FORMAT": "json",
        "RCNN_LOG_LEVEL": "info",
        "RCNN_MAX_IMAGE_BYTES": "20971520",
        "RCNN_MAX_IMAGE_MEGAPIXELS": "12.5",
        "TZ": "UTC",
    }


def test_numbers_from_a_values_file_are_not_written_as_floats(render: Render, tmp_path: Path) -> None:
    """helm reads 20971520 in a file as a float and would print 2.097152e+07, which the service would refuse."""
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"settings": {"maxImageBytes": 20971520, "maxInFlight": 64}}))
    environment = render("--values", str(values)).environment
    assert environment["RCNN_MAX_IMAGE_BYTES"] == "20971520"
    assert environment["RCNN_MAX_IN_FLIGHT"] == "64"


# Fixed by the chart, or given elsewhere in its values.
NOT_SETTINGS_OF_THE_CHART = {"bundles", "host", "http_port", "grpc_port", "metrics_port", "model_config"}


def test_the_chart_offers_the_services_settings_all_and_no_others() -> None:
    """A key the service does not know would be accepted and ignored; one the chart does not know could not be set."""
    source = CHART.parents[1] / "service/settings.py"
    fields = {
        node.target.id
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    schema = json.loads((CHART / "values.schema.json").read_text())
    offered = {re.sub(r"(?=[A-Z])", "_", key).lower() for key in schema["properties"]["settings"]["properties"]}
    assert offered == fields - NOT_SETTINGS_OF_THE_CHART


def test_the_service_finds_the_pods_and_only_them(render: Render) -> None:
    """Its selector matches the Deployment's pods, and not the helm test's, which would be asked to answer itself."""
    objects = render()
    selector = objects.one("Service")["spec"]["selector"].items()
    assert selector <= objects.workload["spec"]["template"]["metadata"]["labels"].items()
    for test in objects.all("Pod"):
        assert not selector <= test["metadata"]["labels"].items()
    assert objects.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() == selector
    assert objects.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() == selector


def test_each_port_says_what_is_spoken_there(render: Render) -> None:
    """appProtocol makes a gateway balance gRPC by call; target ports are named as the container names them."""
    objects = render("--set", "service.httpPort=80")
    ports = {
        port["name"]: (port["port"], port["targetPort"], port["appProtocol"])
        for port in objects.one("Service")["spec"]["ports"]
    }
    assert ports == {
        "http": (80, "http", "http"),
        "grpc": (8001, "grpc", "kubernetes.io/h2c"),
        "metrics": (8002, "metrics", "http"),
    }
    named = {port["name"]: port["containerPort"] for port in objects.container["ports"]}
    assert named == {"http": 8000, "grpc": 8001, "metrics": 8002}


def test_a_digest_wins_over_a_tag(render: Render) -> None:
    """A digest names the bytes that were judged; a tag may have moved since."""
    digest = f"sha256:{'a' * 64}"
    objects = render("--set", f"image.tag=1.2.3,image.digest={digest},image.repository=registry.example/rcnn")
    assert objects.container["image"] == f"registry.example/rcnn@{digest}"
    for test in objects.all("Pod"):
        assert test["spec"]["containers"][0]["image"] == f"registry.example/rcnn@{digest}"


def test_the_helm_tests_are_programs_python_can_read(render: Render) -> None:
    """They run in our own image, without a shell, and ask the Service by the ports it really has."""
    tests = render("--set", "service.httpPort=80").all("Pod")
    assert [test["metadata"]["name"] for test in tests] == [
        f"demo-rcnn-test-{question}" for question in ("detection", "grpc", "metrics", "rest")
    ]
    for test in tests:
        (container,) = test["spec"]["containers"]
        python, flag, program = container["command"]
        assert (python, flag) == ("/opt/rcnn/bin/python", "-c")
        compile(program, "helm-test", "exec")
        assert {"name": "HTTP", "value": "http://demo-rcnn:80"} in container["env"]


def test_over_tls_probes_go_where_no_client_certificate_is_asked_for(template: Any) -> None:
    """The kubelet has none to show; the metrics port answers probes too."""
    rendered = template("--set", "settings.tlsCertificate=/tls/tls.crt,settings.tlsKey=/tls/tls.key").stdout
    [deployment] = [part for part in yaml.safe_load_all(rendered) if part and part["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["port"], asked["scheme"]) == ("metrics", "HTTPS")
