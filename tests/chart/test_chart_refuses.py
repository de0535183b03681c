"""Values that cannot work are refused when the chart is rendered, in words that say what to change."""

from collections.abc import Callable
from typing import Any

import pytest

Refuse = Callable[..., str]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--set", "replica=3"], ["replica"], id="misspelt"),
        pytest.param(["--set", "settings.maxInflight=3"], ["settings", "maxInflight"], id="misspelt-setting"),
        pytest.param(["--set", "image.tags=1"], ["image", "tags"], id="misspelt-in-image"),
        pytest.param(["--set", "probes.readiness.path=/x"], ["readiness", "path"], id="probe-path"),
        pytest.param(["--set", "settings.engine=torch"], ["settings", "engine", "openvino"], id="unknown-engine"),
        pytest.param(["--set", "replicas=-1"], ["replicas"], id="negative"),
        pytest.param(["--set-string", "replicas=2"], ["replicas", "integer"], id="text-for-a-number"),
        pytest.param(["--set", "image.digest=sha256:12"], ["digest"], id="short-digest"),
        pytest.param(
            ["--set", "autoscaling.scaleDownAfterSeconds=59"],
            ["scaleDownAfterSeconds", "60"],
            id="scale-down-in-one-go",
        ),
        pytest.param(
            ["--set", "podDisruptionBudget.maxUnavailable=0"], ["maxUnavailable"], id="budget-that-blocks-drains"
        ),
        pytest.param(
            ["--set-json", 'extraEnv=[{"name":"RCNN_ENGINE"}]'],
            ["extraEnv", "name"],
            id="setting-behind-the-charts-back",
        ),
    ],
)
def test_a_wrong_value_is_named(refuse: Refuse, flags: list[str], words: list[str]) -> None:
    """The message names the key, so that nobody has to search a values file of two hundred lines."""
    message = refuse(*flags)
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


@pytest.mark.parametrize(
    ("sleep", "drain", "needed"),
    [
        pytest.param(10, 60, 75, id="long-drain"),
        pytest.param(30, 25, 60, id="long-sleep"),
        pytest.param(10, 30.5, 46, id="rounded-up"),
    ],
)
def test_a_grace_period_too_short_for_the_drain_is_refused_with_advice(
    refuse: Refuse, sleep: int, drain: float, needed: int
) -> None:
    """Kubernetes would kill the pod with requests inside; the message does the sum and says what to set."""
    message = refuse("--set-json", f"preStopSleepSeconds={sleep},settings.drainTimeoutS={drain}")
    assert "terminationGracePeriodSeconds is 45" in message
    assert f"Set terminationGracePeriodSeconds to at least {needed}" in message


@pytest.mark.parametrize(("sleep", "drain", "grace"), [(10, 60, 75), (1, 10, 16), (10, 30.5, 46)])
def test_a_grace_period_that_just_fits_is_accepted(
    template: Callable[..., Any], sleep: int, drain: float, grace: int
) -> None:
    """The advice of the refusal is good: the number it names works, and one less does not."""
    stopping = f"preStopSleepSeconds={sleep},settings.drainTimeoutS={drain}"
    assert template("--set-json", f"{stopping},terminationGracePeriodSeconds={grace}").returncode == 0
    assert template("--set-json", f"{stopping},terminationGracePeriodSeconds={grace - 1}").returncode != 0


def test_the_services_own_drain_counts_when_the_setting_is_left_out(refuse: Refuse) -> None:
    """Taking the key away does not take the drain away: the service then waits its default of 25 seconds."""
    message = refuse("--set", "settings.drainTimeoutS=null,terminationGracePeriodSeconds=30")
    assert "25 (settings.drainTimeoutS)" in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(
            "model.source=claim,model.claim.name=zoo",
            ["model.bundles", "--set 'model.bundles={"],
            id="claim-without-bundles",
        ),
        pytest.param("model.bundles={maskrcnn-r50/3}", ["Set model.source to claim"], id="bundles-of-no-source"),
        pytest.param("model.source=claim,model.bundles={a/1}", ["/model/claim/name"], id="claim-without-a-name"),
        pytest.param("model.source=fetch,model.bundles={a/1}", ["/model/fetch/url"], id="fetch-from-nowhere"),
        pytest.param(
            "model.source=fetch,model.fetch.url=ftp://a,model.bundles={a/1}", ["/model/fetch/url"], id="fetch-by-ftp"
        ),
        pytest.param(
            "model.source=fetch,model.fetch.url=s3://a,model.bundles={a/1}",
            ["networkPolicy.egress"],
            id="fetch-behind-a-wall",
        ),
        pytest.param(
            "model.source=claim,model.claim.name=a,model.bundles={a/1},model.mountPath=/app",
            ["mountPath"],
            id="models-over-us",
        ),
        pytest.param(
            "settings.drainTimeoutS=5", ["settings.drainTimeoutS to at least 10"], id="drain-under-a-deadline"
        ),
        pytest.param("settings.maxInFlight=8", ["settings.maxInFlight to at least 16"], id="request-never-admitted"),
        pytest.param(
            "settings.responseCacheMb=500", ["484Mi are left", "Raise resources.limits.memory"], id="no-memory-left"
        ),
        pytest.param("tmpSizeLimit=2Gi", ["resources.limits.memory is 2048Mi"], id="all-memory-for-files"),
        pytest.param("settings.engine=tensorrt", ["Set gpu.kind"], id="gpu-engine-without-gpu"),
        pytest.param("settings.engine=openvino,gpu.kind=plugin", ["stand idle"], id="cpu-engine-on-a-gpu"),
        pytest.param(r"resources.limits.nvidia\.com/gpu=1", ["gpu.kind: plugin"], id="gpu-behind-the-charts-back"),
        pytest.param("autoscaling.kind=hpa,autoscaling.minReplicas=20", ["maxReplicas 10"], id="least-above-most"),
        pytest.param(
            "autoscaling.kind=hpa,autoscaling.cpuUtilizationPercent=80,resources.requests.cpu=null",
            ["resources.requests.cpu"],
            id="share-of-nothing",
        ),
        pytest.param("autoscaling.kind=vpa", ["autoscaling/kind", "keda"], id="unknown-autoscaler"),
        pytest.param("rollout.maxSurge=0", ["no pod could ever be replaced"], id="rollout-that-cannot-move"),
        pytest.param(
            "rollout.maxSurge=0,rollout.maxUnavailable=0%", ["no pod could ever be replaced"], id="none-in-per-cent"
        ),
        pytest.param("canary.engine=argo", ["canary.judge.url"], id="canary-without-judge"),
        pytest.param(
            "canary.engine=argo,canary.judge.url=http://j,canary.weights={50\\,5}",
            ["canary/weights"],
            id="weights-as-text",
        ),
        pytest.param("canary.weights={50,5}", ["more than the one before"], id="weights-going-down"),
        pytest.param(
            "canary.engine=flagger,canary.judge.url=http://j,service.grpcPort=81",
            ["Leave it at 8001"],
            id="flaggers-port",
        ),
        pytest.param(
            "canary.engine=argo,canary.judge.url=http://j,metrics.monitor=service",
            ["metrics.monitor to pod"],
            id="counted-twice",
        ),
        pytest.param("canary.trafficRouting.nginx.x=y", ["canary.engine to argo"], id="routing-of-no-engine"),
        pytest.param("gateway.http.enabled=true", ["gateway.parentRefs"], id="route-to-no-gateway"),
        pytest.param(
            "gateway.parentRefs[0].name=g,gateway.http.enabled=true,gateway.grpc.enabled=true"
            ",gateway.http.hostnames={a.example},gateway.grpc.hostnames={a.example}",
            ["grpc.a.example"],
            id="two-routes-one-name",
        ),
        pytest.param(
            "canary.engine=argo,canary.judge.url=http://j,gateway.canary.service=next",
            ["Choose one"],
            id="two-hands-on-weights",
        ),
        pytest.param("tls.certManager.enabled=true", ["tls.secretName"], id="certificate-for-no-secret"),
        pytest.param("tls.certManager.enabled=true,tls.secretName=t", ["issuerRef.name"], id="certificate-of-nobody"),
        pytest.param("tls.clientCaSecretName=c", ["tls.secretName"], id="clients-certificates-alone"),
        pytest.param(
            "apiKeys.secretName=k,settings.apiKeys=/x", ["Take it out of settings"], id="keys-from-two-places"
        ),
        pytest.param("gpu.kind=cuda", ["gpu/kind", "plugin"], id="unknown-gpu"),
    ],
)
def test_values_that_are_fine_alone_and_wrong_together_are_refused(
    refuse: Refuse, values: str, words: list[str]
) -> None:
    """Each refusal names the keys, and what to set."""
    message = refuse("--set", values)
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"


@pytest.mark.parametrize(
    ("values", "version", "least"),
    [
        pytest.param("replicas=2", "1.28.0", "1.29", id="the-chart"),
        pytest.param("gpu.kind=dra", "1.33.0", "1.34", id="dra"),
        pytest.param(
            "model.source=image,model.image.reference=r/m:1,model.bundles={a/1}", "1.32.0", "1.33", id="image-volumes"
        ),
    ],
)
def test_a_cluster_too_old_is_refused_with_the_version_that_is_needed(
    refuse: Refuse, values: str, version: str, least: str
) -> None:
    """Old clusters drop fields they do not know in silence, and the release would be something else than asked for."""
    assert least in refuse("--kube-version", version, "--set", values)
