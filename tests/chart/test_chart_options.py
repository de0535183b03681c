"""What single values add to a release."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

CHART = Path(__file__).parents[2] / "helm/rcnn"

Render = Callable[..., Any]

ARGO = ("--set", "canary.engine=argo,canary.judge.url=http://judge:8080/verdict")


def test_argo_asks_the_judge_at_every_weight_and_last(render: Render) -> None:
    """A background analysis still undecided at the end counts as a success; an inline one at the last step cannot."""
    canary = render(*ARGO, "--set", "canary.weights={10,50}").workload["spec"]["strategy"]["canary"]
    assert [next(iter(step)) for step in canary["steps"]] == ["setWeight", "analysis", "setWeight", "analysis"]
    assert [step["setWeight"] for step in canary["steps"][::2]] == [10, 50]


def test_argo_neither_promotes_nor_aborts_on_a_judge_that_cannot_say(render: Render) -> None:
    """One clear yes ends it, one clear no ends it, and anything else until the last look leads to a person."""
    (verdict,) = render(*ARGO, "--set", "canary.judge.looks=7").one("AnalysisTemplate")["spec"]["metrics"]
    assert verdict["successCondition"] == 'result == "promote"'
    assert verdict["failureCondition"] == 'result == "rollback"'
    assert (verdict["consecutiveSuccessLimit"], verdict["failureLimit"]) == (1, 0)
    assert verdict["count"] == verdict["inconclusiveLimit"] == verdict["consecutiveErrorLimit"] == 7


def test_argo_moves_the_weights_of_the_charts_own_routes(render: Render) -> None:
    """Through its Gateway API plugin; otherwise as told; and where there is neither, by the share of pods."""
    routes = "gateway.parentRefs[0].name=g,gateway.http.enabled=true,gateway.http.hostnames={a.example}"
    objects = render(*ARGO, "--set", routes)
    plugin = objects.workload["spec"]["strategy"]["canary"]["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]
    assert plugin == {"namespace": "vision", "httpRoutes": [{"name": objects.one("HTTPRoute")["metadata"]["name"]}]}
    told = render(*ARGO, "--set", "canary.trafficRouting.traefik.weightedTraefikServiceName=split")
    assert told.workload["spec"]["strategy"]["canary"]["trafficRouting"] == {
        "traefik": {"weightedTraefikServiceName": "split"}
    }
    assert "trafficRouting" not in render(*ARGO).workload["spec"]["strategy"]["canary"]


def test_without_weights_all_pods_of_a_rollout_stand_behind_the_service(render: Render) -> None:
    """A stableService is one that Argo Rollouts keeps the candidate's pods out of."""
    assert "stableService" not in render(*ARGO).workload["spec"]["strategy"]["canary"]
    told = render(*ARGO, "--set", "canary.trafficRouting.traefik.weightedTraefikServiceName=split")
    assert told.workload["spec"]["strategy"]["canary"]["stableService"] == "demo-rcnn"


def test_flagger_makes_what_the_chart_then_does_not(render: Render) -> None:
    """Two makers of one Service or route would overwrite each other."""
    objects = render(
        "--set", "canary.engine=flagger,canary.judge.url=http://judge:8080/flagger,autoscaling.kind=keda",
        "--set", "gateway.parentRefs[0].name=g,gateway.http.enabled=true,gateway.http.hostnames={a.example}",
    )  # fmt: skip
    assert not objects.all("Service", "HTTPRoute")
    canary = objects.one("Canary")["spec"]
    assert canary["service"]["gatewayRefs"] == [{"name": "g"}]
    assert canary["autoscalerRef"]["kind"] == "ScaledObject"
    assert [hook["type"] for hook in canary["analysis"]["webhooks"]] == [
        "confirm-traffic-increase",
        "confirm-promotion",
        "rollback",
    ]


def test_a_canary_by_hand_gets_its_share_of_both_routes(render: Render) -> None:
    """Weights of the two releases, adding up to a hundred."""
    objects = render("--values", str(CHART / "examples/canary-gateway.yaml"), "--set", "gateway.canary.weight=25")
    for kind, port in (("HTTPRoute", 8000), ("GRPCRoute", 8001)):
        (rule,) = objects.one(kind)["spec"]["rules"]
        assert rule["backendRefs"] == [
            {"name": "demo-rcnn", "port": port, "weight": 75},
            {"name": "rcnn-next", "port": port, "weight": 25},
        ]


@pytest.mark.parametrize(("seconds", "quantity"), [("0.2", "200m"), ("1", "1"), ("2.5", "2500m"), ("0.001", "1m")])
def test_the_hpa_scales_on_seconds_of_waiting_work(render: Render, seconds: str, quantity: str) -> None:
    """A quantity in its canonical form, which the API server gives back unchanged."""
    objects = render("--set-json", f'autoscaling.kind="hpa",autoscaling.queuedWorkSeconds={seconds}')
    (metric,) = objects.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "rcnn_queued_work_seconds"
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": quantity}


def test_images_inside_are_a_second_measure_where_asked_for(render: Render) -> None:
    assert len(render("--set", "autoscaling.kind=hpa").one("HorizontalPodAutoscaler")["spec"]["metrics"]) == 1
    hpa = render("--set-json", 'autoscaling.kind="hpa",autoscaling.inFlightImages=2.5').one("HorizontalPodAutoscaler")
    _, inside = (metric["pods"] for metric in hpa["spec"]["metrics"])
    assert inside["metric"]["name"] == "rcnn_in_flight_requests"
    assert inside["target"] == {"type": "AverageValue", "averageValue": "2500m"}
    scaled = render("--set-json", 'autoscaling.kind="keda",autoscaling.inFlightImages=2.5').one("ScaledObject")["spec"]
    _, trigger = (each["metadata"] for each in scaled["triggers"])
    assert trigger["query"] == 'sum(rcnn_in_flight_requests{namespace="vision", job="demo-rcnn"})'
    assert trigger["threshold"] == "2.5"
    assert trigger["ignoreNullValues"] == "false"


def test_keda_keeps_the_pods_when_prometheus_is_gone(render: Render) -> None:
    """No data is no reason to shrink: nulls count as failures, and the fallback never lowers."""
    scaled = render("--set", "autoscaling.kind=keda,autoscaling.cpuUtilizationPercent=80").one("ScaledObject")["spec"]
    assert scaled["fallback"]["behavior"] == "currentReplicasIfHigher"
    prometheus, cpu = scaled["triggers"]
    assert prometheus["metadata"]["ignoreNullValues"] == "false"
    assert prometheus["metadata"]["query"].startswith("sum(")
    assert cpu["metadata"] == {"value": "80"}


def test_a_gpu_by_a_device_plugin_comes_with_its_toleration_and_image(render: Render) -> None:
    """One value asks for it: limit, toleration of the usual taint, and the image that has CUDA in it."""
    objects = render("--set", "gpu.kind=plugin,runtimeClassName=nvidia")
    assert objects.container["resources"]["limits"] == {"memory": "2Gi", "nvidia.com/gpu": 1}
    assert objects.pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert objects.pod["runtimeClassName"] == "nvidia"
    assert objects.container["image"].endswith("-gpu")


def test_a_gpu_by_dynamic_resource_allocation_is_claimed(render: Render) -> None:
    """The pod names a template, the container the claim, and the template the device class."""
    objects = render("--set", "gpu.kind=dra,gpu.count=2", "--kube-version", "1.34.0")
    template = objects.one("ResourceClaimTemplate")
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"] == {"deviceClassName": "gpu.nvidia.com", "count": 2}
    assert objects.pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": template["metadata"]["name"]}]
    assert objects.container["resources"]["claims"] == [{"name": "gpu"}]
    assert "nvidia.com/gpu" not in objects.container["resources"]["limits"]


def test_the_network_policy_lets_nothing_out_and_only_those_named_in(render: Render) -> None:
    """The service asks nobody; metrics have callers of their own."""
    prometheus = [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]
    policy = render("--set-json", f"networkPolicy.metricsFrom={json.dumps(prometheus)}").one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    doors, metrics = policy["ingress"]
    assert [port["port"] for port in doors["ports"]] == ["http", "grpc"]
    assert "from" not in doors
    assert (metrics["ports"][0]["port"], metrics["from"]) == ("metrics", prometheus)


def test_rules_and_dashboards_are_those_of_the_charts_files(render: Render) -> None:
    """Byte for byte: their own templates ({{ $labels.job }}) are Prometheus' and Grafana's, not helm's."""
    objects = render("--set", "metrics.rules.enabled=true,metrics.dashboards.enabled=true,metrics.labels.release=kps")
    rules = {item["metadata"]["name"]: item for item in objects.all("PrometheusRule")}
    files = {f"demo-rcnn-{path.stem}": path for path in (CHART / "rules").glob("*.yaml")}
    assert rules.keys() == files.keys()
    for name, path in files.items():
        assert rules[name]["spec"] == yaml.safe_load(path.read_text())
        assert rules[name]["metadata"]["labels"]["release"] == "kps"
    boards = objects.one("ConfigMap", "-dashboards")["data"]
    assert boards == {path.name: path.read_text() for path in (CHART / "dashboards").rglob("*.json")}
    assert "rcnn-runbooks.json" in boards


def test_the_debug_dashboard_leads_to_where_samples_are_looked_at(render: Render) -> None:
    url = "https://bucket.example/browse/samples?prefix=a"
    flags = ("--set", "metrics.dashboards.enabled=true,metrics.dashboards.samplesUrl=" + url)
    board = json.loads(render(*flags).one("ConfigMap", "-dashboards")["data"]["rcnn-debug.json"])
    (variable,) = (one for one in board["templating"]["list"] if one["name"] == "samples_url")
    assert variable["query"] == url
    assert any(link["url"] == "${samples_url:raw}" for panel in board["panels"] for link in panel.get("links", []))


@pytest.mark.parametrize(
    "flags",
    [("--kube-version", "1.29.0"), ("--set", "canary.engine=flagger,canary.judge.url=http://judge")],
    ids=["1.29", "flagger"],
)
def test_the_images_own_python_sleeps_where_kubernetes_does_not(render: Render, flags: tuple[str, ...]) -> None:
    """There is no shell in the image, and no sleep in the kubelet before 1.30, nor in the copies that Flagger makes."""
    (python, _, program) = render(*flags).container["lifecycle"]["preStop"]["exec"]["command"]
    assert python == "/opt/rcnn/bin/python"
    assert program == "import time; time.sleep(10)"


def test_extra_objects_are_rendered_as_templates(render: Render) -> None:
    """As maps or as text, with the release's names in them."""
    extra = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-one"}},
        'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ include "rcnn.fullname" . }}-two"}',
    ]
    objects = render("--set-json", f"extraObjects={json.dumps(extra)}")
    assert [item["metadata"]["name"] for item in objects.all("ConfigMap")] == ["demo-one", "demo-rcnn-two"]


@pytest.mark.parametrize("release", ["r", "r" * 53])
def test_names_fit_whatever_the_release_is_called(helm: Path, release: str) -> None:
    """Kubernetes allows 63 characters, helm 53 for a release; what we put behind them is cut to fit."""
    values = CHART / "examples/canary-argo.yaml"
    made = subprocess.run(
        [helm, "template", release, CHART, "--values", values, "--set", "metrics.rules.enabled=true"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [item["metadata"]["name"] for item in yaml.safe_load_all(made.stdout) if item]
    assert all(len(name) <= 63 for name in names), names


TLS = ("--set", "tls.secretName=rcnn-tls,tls.certManager.enabled=true,tls.certManager.issuerRef.name=ca")


def test_certificates_reach_the_pod_as_folders_and_every_caller_speaks_tls(render: Render) -> None:
    """A mounted folder is renewed by the kubelet, a single file is not; probes, scrapes and routes follow."""
    objects = render(*TLS, "--set", "metrics.monitor=pod")
    assert objects.environment["RCNN_TLS_CERTIFICATE"] == "/etc/rcnn/tls/tls.crt"
    assert objects.environment["RCNN_TLS_KEY"] == "/etc/rcnn/tls/tls.key"
    assert {"name": "tls", "mountPath": "/etc/rcnn/tls", "readOnly": True} in objects.container["volumeMounts"]
    assert {"name": "tls", "secret": {"secretName": "rcnn-tls"}} in objects.pod["volumes"]
    assert objects.container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics", "scheme": "HTTPS"}
    assert objects.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["scheme"] == "https"
    assert {port["appProtocol"] for port in objects.one("Service")["spec"]["ports"]} == {"https"}
    certificate = objects.one("Certificate")["spec"]
    assert (certificate["secretName"], certificate["issuerRef"]["name"]) == ("rcnn-tls", "ca")
    schema = Path(__file__).parent / "schemas/cert-manager.io_v1_Certificate.json"
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(objects.one("Certificate"))


def test_with_mutual_tls_the_kubelet_asks_where_no_certificate_is_asked_for(render: Render) -> None:
    """It has none to show; nor has a helm test."""
    objects = render(*TLS, "--set", "tls.clientCaSecretName=clients")
    assert objects.environment["RCNN_TLS_CLIENT_CA"] == "/etc/rcnn/client-ca/ca.crt"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert objects.container[probe]["httpGet"]["port"] == "metrics"
    assert [test["metadata"]["name"] for test in objects.all("Pod")] == ["demo-rcnn-test-metrics"]


def test_api_keys_come_from_a_secret_and_never_from_values(render: Render) -> None:
    """Hashes for the service; a key each for the scraper and the helm tests, by reference."""
    objects = render(
        "--set", "apiKeys.secretName=keys,apiKeys.testSecretName=tester",
        "--set", "metrics.monitor=pod,metrics.credentialsSecretName=scraper",
    )  # fmt: skip
    assert objects.environment["RCNN_API_KEYS"] == "/etc/rcnn/keys/keys.toml"
    assert {"name": "keys", "secret": {"secretName": "keys"}} in objects.pod["volumes"]
    endpoint = objects.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]
    assert endpoint["authorization"] == {"credentials": {"name": "scraper", "key": "key"}}
    for test in objects.all("Pod"):
        key = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "tester", "key": "key"}}}
        assert key in test["spec"]["containers"][0]["env"]
