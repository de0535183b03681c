"""The ways a release goes out, in one set of words: begin it, see how far it is, put right what was rolled back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from deploy.e2e.kubernetes import Api, Object, helm, kubectl
from deploy.e2e.releases import Values

NAME, HOST = "rcnn", "rcnn.e2e"
GATEWAY = "http://10.100.0.1:8088"
CHART = Path(__file__).parents[2] / "helm/rcnn"
VALUES = Path(__file__).parent / "values"
Phase = Literal["steady", "moving", "rolled back"]


@dataclass(frozen=True)
class Progress:
    """weight: per cent of the traffic that the candidate should get."""

    weight: int
    phase: Phase


class Engine(Protocol):
    """
    changes: chart values beside those of values/release.yaml and the engine's own.

    asks_first: the judge decides before the first weight too, by the pairs that stable pods make. candidate: what the
    release that was asked for last calls itself. settle: after a promotion; put_right: after a rollback, what is asked
    for becomes again what runs.
    """

    url: str
    host: str
    asks_first: bool

    def install(self, changes: Values) -> None: ...
    def release(self, changes: Values) -> None: ...
    def settle(self) -> None: ...
    def put_right(self) -> None: ...
    def progress(self, api: Api) -> Progress: ...
    def candidate(self, api: Api) -> str: ...


class ByHelm:
    """
    A controller that notices by itself that helm has changed the pods; engine names its values file.

    url and host: where callers reach the release. inside: the values file of the engine in the pods.
    """

    engine, url, host, asks_first = "", GATEWAY, HOST, False

    def __init__(self, folder: Path, inside: str) -> None:
        self._folder, self._inside = folder, inside

    def install(self, changes: Values) -> None:
        helm("install", NAME, str(CHART), *self._values(changes))

    def release(self, changes: Values) -> None:
        helm("upgrade", NAME, str(CHART), *self._values(changes))

    def settle(self) -> None:
        """Nothing: what helm was asked for is what runs."""

    def put_right(self) -> None:
        helm("rollback", NAME)

    def candidate(self, api: Api) -> str:
        rollout = api.of("argoproj.io/v1alpha1", "rollouts", NAME)
        return workload_release(rollout or api.of("apps/v1", "deployments", NAME))

    def _values(self, changes: Values) -> list[str]:
        file = self._folder / "values.json"
        file.write_text(json.dumps(changes, indent=1))
        shared = (VALUES / f"{name}.yaml" for name in ("release", self.engine, self._inside))
        return [f"--values={each}" for each in (*shared, file)]


class Argo(ByHelm):
    """Argo Rollouts, with Traefik's own weights."""

    engine = "argo"

    def progress(self, api: Api) -> Progress:
        split = api.of("traefik.io/v1alpha1", "traefikservices", NAME).get("spec", {}).get("weighted", {})
        weights = {one["name"]: one.get("weight", 0) for one in split.get("services", [])}
        rollout = api.of("argoproj.io/v1alpha1", "rollouts", NAME)
        return Progress(weights.get(f"{NAME}-canary", 0), _argo_phase(rollout))


def _argo_phase(rollout: Object) -> Phase:
    """What the status says of an older specification does not count."""
    status = rollout.get("status", {})
    if int(status.get("observedGeneration", 0)) < rollout.get("metadata", {}).get("generation", 1):
        return "moving"
    if status.get("abort"):
        return "rolled back"
    return "steady" if status.get("phase") == "Healthy" else "moving"


class ArgoPods(ByHelm):
    """Argo Rollouts alone: callers ask the Service, and the weight is the share of the pods behind it."""

    engine, url = "pods", f"http://{HOST}:8000"

    def progress(self, api: Api) -> Progress:
        rollout = api.of("argoproj.io/v1alpha1", "rollouts", NAME)
        phase, status = _argo_phase(rollout), rollout.get("status", {})
        share = 100 * status.get("updatedReplicas", 0) // max(status.get("replicas", 0), 1)
        return Progress(0 if phase == "steady" else share, phase)


class Flagger(ByHelm):
    """Flagger, with an HTTPRoute."""

    engine, asks_first = "flagger", True

    def progress(self, api: Api) -> Progress:
        rules = api.of("gateway.networking.k8s.io/v1", "httproutes", NAME).get("spec", {}).get("rules", [{}])
        backends = {one["name"]: one.get("weight", 1) for one in rules[0].get("backendRefs", [])}
        status = api.of("flagger.app/v1beta1", "canaries", NAME).get("status", {})
        phases: dict[str, Phase] = {"Initialized": "steady", "Succeeded": "steady", "Failed": "rolled back"}
        phase = phases.get(status.get("phase", ""), "moving")
        if phase == "rolled back" and self._asks_for_what_runs(api):
            phase = "steady"
        return Progress(backends.get(f"{NAME}-canary", 0), phase)

    def put_right(self) -> None:
        """Helm asks for the Deployment's pods again, and Flagger sees no release in that: they would stay and idle."""
        super().put_right()
        kubectl("scale", "deployment", NAME, "--replicas=0")

    def _asks_for_what_runs(self, api: Api) -> bool:
        """After a rollback of what is asked for, which Flagger takes for no release: its phase stays Failed."""
        asked, runs = (workload_release(api.of("apps/v1", "deployments", name)) for name in (NAME, f"{NAME}-primary"))
        return asked == runs != ""


def workload_release(workload: Object) -> str:
    """What the pods of its template call themselves (RCNN_RELEASE); "" where there is none."""
    return release_of(workload["spec"]["template"]["spec"]) if workload else ""


def release_of(pod_spec: Object) -> str:
    variables = {one["name"]: one.get("value", "") for one in pod_spec["containers"][0].get("env", [])}
    return str(variables.get("RCNN_RELEASE", ""))


def image_values(image: str) -> Values:
    """repository@sha256:..., or repository:tag, as chart values."""
    repository, _, digest = image.partition("@")
    if digest:
        return {"image": {"repository": repository, "digest": digest}}
    repository, _, tag = image.rpartition(":")
    return {"image": {"repository": repository, "tag": tag}}
