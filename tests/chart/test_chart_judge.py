"""What a canary adds to a release: a judge, pairs for it to judge by, and names by which they know the candidate."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from typer.testing import CliRunner

from deploy.judge.commands import app
from deploy.judge.verdict import Decision, Verdict

SCHEMAS = Path(__file__).parent / "schemas"

Render = Callable[..., Any]

PROMETHEUS = "canary.judge.prometheusUrl=http://prometheus:9090"
ARGO = ("--set", f"canary.engine=argo,{PROMETHEUS}")
FLAGGER = ("--set", f"canary.engine=flagger,{PROMETHEUS}")
BY_HAND = ("--set", f"gateway.canary.service=rcnn-next,{PROMETHEUS}")

every_canary = pytest.mark.parametrize("flags", [ARGO, FLAGGER, BY_HAND], ids=["argo", "flagger", "by-hand"])


def candidate_of_the_rollout(objects: Any) -> str:
    url: str = objects.one("AnalysisTemplate")["spec"]["metrics"][0]["provider"]["web"]["url"]
    return url.split("candidate=")[1].split("&")[0]


def test_nothing_of_it_is_there_by_default(render: Render) -> None:
    objects = render()
    assert not [item for item in objects if item["metadata"]["name"].endswith("-judge")]
    assert not [name for name in objects.environment if "SHADOW" in name or "RELEASE" in name]
    assert not objects.all("AnalysisTemplate", "Canary")


@every_canary
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_all_it_adds_is_valid(render: Render, flags: tuple[str, ...], version: str) -> None:
    for item in render(*flags):
        custom = SCHEMAS / f"{item['apiVersion'].replace('/', '_')}_{item['kind']}.json"
        if custom.exists():
            jsonschema.Draft202012Validator(json.loads(custom.read_text())).validate(item)
        else:
            kubernetes_validate.validate(item, version, strict=True)


@every_canary
def test_the_judge_is_a_restricted_pod_behind_its_own_service(render: Render, flags: tuple[str, ...]) -> None:
    objects = render(*flags)
    template = objects.one("Deployment", "-judge")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert template["spec"]["securityContext"] == objects.pod["securityContext"]
    assert container["securityContext"] == objects.container["securityContext"]
    assert container["image"] == objects.container["image"]
    assert container["resources"]["limits"]["memory"]
    assert objects.one("Service", "-judge")["spec"]["selector"] == template["metadata"]["labels"]
    assert not objects.workload["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


@every_canary
def test_the_judge_can_be_scraped_with_and_without_an_operator_through_the_one_port_that_is_open(
    render: Render, flags: tuple[str, ...]
) -> None:
    """Its job is its own name both ways: a Prometheus without an operator takes it from the ReplicaSet's."""
    objects = render(*flags, "--set", "metrics.monitor=pod")
    template = objects.one("Deployment", "-judge")["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"])
    monitor = objects.one("PodMonitor", "-judge")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "demo-rcnn-judge"}]
    assert monitor["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    policy = objects.one("NetworkPolicy", "-judge")["spec"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    assert policy["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert policy["policyTypes"] == ["Ingress"], "where its Prometheus is, the chart does not know"


@every_canary
def test_no_service_that_selects_servers_by_name_alone_finds_the_judge(render: Render, flags: tuple[str, ...]) -> None:
    """As those that Flagger makes do: a third of the candidate's callers got the judge's 404."""
    objects = render(*flags)
    judge = objects.one("Deployment", "-judge")["spec"]["template"]["metadata"]["labels"]
    name = "app.kubernetes.io/name"
    assert judge[name] != objects.workload["spec"]["template"]["metadata"]["labels"][name]


def test_the_judge_is_started_with_flags_it_knows(render: Render) -> None:
    """By its own command line: --help after them answers only if each was read."""
    objects = render(*ARGO, "--set", "canary.judge.args={--disagreement=0.03}")
    (container,) = objects.one("Deployment", "-judge")["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["gate", "serve"]
    assert '--selector=namespace="vision",job="demo-rcnn"' in container["args"]
    answer = CliRunner().invoke(app, ["serve", *container["args"], "--help"])
    assert answer.exit_code == 0, answer.output
    refused = CliRunner().invoke(app, ["serve", *container["args"], "--no-such-flag", "--horizon-minutes=x"])
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    "told, flags", [("0.25", []), ("0.5", ["--set-json", "settings.shadowShare=0.5"]), (None, ["0"])]
)
def test_the_judge_knows_the_share_that_pods_are_told(render: Render, told: str | None, flags: list[str]) -> None:
    share = flags[0] if flags[:1] == ["0"] else "0.25"
    objects = render(*ARGO, "--set-json", f"canary.shadow.share={share}", *(flags if told else []))
    (container,) = objects.one("Deployment", "-judge")["spec"]["template"]["spec"]["containers"]
    shares = [argument for argument in container["args"] if argument.startswith("--share")]
    assert shares == ([f"--share={told}"] if told else [])
    assert objects.environment.get("RCNN_SHADOW_SHARE") == told


def test_argo_reads_the_field_in_which_the_judge_decides(render: Render) -> None:
    web = render(*ARGO).one("AnalysisTemplate")["spec"]["metrics"][0]["provider"]["web"]
    assert web["url"].startswith("http://demo-rcnn-judge.vision:8010/verdict?candidate=")
    field = web["jsonPath"].removeprefix("{$.").removesuffix("}")
    assert Verdict(Decision.ROLLBACK, (), {}, ()).document()[field] == "rollback"


@pytest.mark.parametrize("flags", [ARGO, FLAGGER], ids=["argo", "flagger"])
def test_the_carrier_asks_about_the_release_the_pods_say_they_are(render: Render, flags: tuple[str, ...]) -> None:
    objects = render(*flags)
    release = objects.environment["RCNN_RELEASE"]
    if objects.all("Canary"):
        hooks = objects.one("Canary")["spec"]["analysis"]["webhooks"]
        assert {hook["metadata"]["candidate"] for hook in hooks} == {release}
        assert {hook["url"] for hook in hooks} == {
            f"http://demo-rcnn-judge.vision:8010/flagger/{answer}" for answer in ("confirm", "rollback")
        }
    else:
        assert candidate_of_the_rollout(objects) == release


def test_a_release_is_called_anew_exactly_when_its_pods_change(render: Render) -> None:
    """Otherwise the counts of two would mix, or a change of replicas would roll every pod."""
    name = render(*ARGO).environment["RCNN_RELEASE"]
    for same in ("replicas=5", "canary.weights={10}", "service.annotations.a=b"):
        assert render(*ARGO, "--set", same).environment["RCNN_RELEASE"] == name
    for other in ("settings.maxBatchSize=2", "image.tag=0.2.0", "nodeSelector.disk=ssd", "podLabels.a=b"):
        assert render(*ARGO, "--set", other).environment["RCNN_RELEASE"] != name
    assert render(*ARGO, "--set", "settings.release=v9").environment["RCNN_RELEASE"] == "v9"


@every_canary
def test_pods_are_labelled_with_what_they_call_themselves(render: Render, flags: tuple[str, ...]) -> None:
    """One identity: found by `kubectl get pods -l rcnn/release=...`, in metrics, answers and audit lines."""
    objects = render(*flags)
    assert (
        objects.workload["spec"]["template"]["metadata"]["labels"]["rcnn/release"]
        == objects.environment["RCNN_RELEASE"]
    )
    long = render(*flags, "--set", f"settings.release={'a' * 62}.b")
    assert long.workload["spec"]["template"]["metadata"]["labels"]["rcnn/release"] == "a" * 62
    assert "rcnn/release" not in long.workload["spec"]["selector"]["matchLabels"]


@every_canary
def test_stable_pods_ask_the_candidate_and_may_reach_it(render: Render, flags: tuple[str, ...]) -> None:
    objects = render(*flags, "--set-json", "service.httpPort=80,canary.shadow.share=0.25")
    service = "rcnn-next" if flags is BY_HAND else "demo-rcnn-canary"
    assert objects.environment["RCNN_SHADOW_URL"] == f"http://{service}:80"
    assert objects.environment["RCNN_SHADOW_SHARE"] == "0.25"
    egress = objects.one("NetworkPolicy", "demo-rcnn")["spec"]["egress"]
    assert egress[0]["ports"] == [{"port": "http", "protocol": "TCP"}]
    assert {port["port"] for port in egress[1]["ports"]} == {53}


def test_the_pods_flagger_renames_are_still_guarded_and_scraped(render: Render) -> None:
    """Its primary has another app.kubernetes.io/name than the Deployment it copies."""
    objects = render(*FLAGGER, "--set", "metrics.monitor=pod")
    primary = {**objects.workload["spec"]["template"]["metadata"]["labels"], "app.kubernetes.io/name": "rcnn-primary"}
    selectors = [
        objects.one("NetworkPolicy", "demo-rcnn")["spec"]["podSelector"],
        objects.one("PodDisruptionBudget")["spec"]["selector"],
        objects.one("PodMonitor", "demo-rcnn")["spec"]["selector"],
    ]
    for selector in selectors:
        assert selector["matchLabels"].items() <= primary.items()


def test_without_a_share_no_pod_asks_another(render: Render) -> None:
    objects = render(*ARGO, "--set", "canary.shadow.share=0")
    assert not [name for name in objects.environment if "SHADOW" in name]
    assert objects.one("NetworkPolicy", "demo-rcnn")["spec"]["egress"] == []


@pytest.mark.parametrize("closed", ["apiKeys.secretName=keys", "tls.secretName=tls"])
def test_what_a_candidate_would_refuse_is_refused_before(refuse: Callable[..., str], closed: str) -> None:
    """Else a healthy release would be rolled back for the questions it could not answer."""
    assert "canary.shadow.share" in refuse(*ARGO, "--set", closed)


def test_where_callers_must_show_a_key_stable_pods_show_one_of_their_own(render: Render) -> None:
    objects = render(*ARGO, "--set", "apiKeys.secretName=keys,canary.shadow.secretName=asking")
    assert objects.environment["RCNN_SHADOW_KEY"] == "/etc/rcnn/shadow/key"
    (volume,) = (each for each in objects.pod["volumes"] if each["name"] == "shadow")
    assert volume["secret"]["secretName"] == "asking"
    assert {"name": "shadow", "mountPath": "/etc/rcnn/shadow", "readOnly": True} in objects.container["volumeMounts"]
    unshadowed = render(*ARGO, "--set", "canary.shadow.share=0,canary.shadow.secretName=asking")
    assert "shadow" not in {volume["name"] for volume in unshadowed.pod["volumes"]}


def test_under_tls_the_candidate_is_asked_by_a_name_that_its_certificate_holds(render: Render) -> None:
    tls = "tls.secretName=tls,tls.certManager.enabled=true,tls.certManager.issuerRef.name=ours"
    objects = render(*ARGO, "--set", tls)
    host = objects.environment["RCNN_SHADOW_URL"].removeprefix("https://").partition(":")[0]
    assert host == "demo-rcnn-canary"
    assert host in objects.one("Certificate")["spec"]["dnsNames"]
    assert objects.environment["RCNN_SHADOW_CA"] == "/etc/rcnn/tls/ca.crt"


@pytest.mark.parametrize(
    "closed",
    [
        "settings.tokenKeys=https://id.example/keys,settings.tokenIssuer=i,settings.tokenAudience=a,canary.shadow.secretName=k",
        "tls.secretName=tls,tls.certManager.enabled=true,tls.certManager.issuerRef.name=ours,tls.clientCaSecretName=ca",
    ],
)
def test_what_no_key_and_no_authority_opens_is_refused_still(refuse: Callable[..., str], closed: str) -> None:
    assert "canary.shadow.share" in refuse(*ARGO, "--set", closed)
