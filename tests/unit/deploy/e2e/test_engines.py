"""How far a rollout is, read from objects as the controllers write them."""

from pathlib import Path

import pytest

from deploy.e2e.engines import Argo, ArgoPods, Flagger, Progress, image_values
from deploy.e2e.kubernetes import Api, Object, Unexpected, is_ready, wait_for
from deploy.e2e.releases import merged


class AnswersFrom(Api):
    """The API server, holding these objects."""

    def __init__(self, objects: dict[str, Object]) -> None:
        self._objects = objects

    def get(self, path: str) -> Object | None:
        return self._objects.get(path)


def argo(status: Object, generation: int = 3, weight: int = 25) -> Api:
    services = [{"name": "rcnn"}, {"name": "rcnn-canary", "weight": weight}]
    return AnswersFrom(
        {
            "/apis/traefik.io/v1alpha1/namespaces/e2e/traefikservices/rcnn": {
                "spec": {"weighted": {"services": services}}
            },
            "/apis/argoproj.io/v1alpha1/namespaces/e2e/rollouts/rcnn": {
                "metadata": {"generation": generation},
                "status": status,
            },
        }
    )


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({"observedGeneration": "3", "phase": "Healthy"}, "steady"),
        ({"observedGeneration": "3", "phase": "Progressing"}, "moving"),
        ({"observedGeneration": "3", "phase": "Degraded", "abort": True}, "rolled back"),
        ({"observedGeneration": "2", "phase": "Healthy"}, "moving"),
        ({"observedGeneration": "2", "phase": "Degraded", "abort": True}, "moving"),
        ({}, "moving"),
    ],
)
def test_argo_s_status_counts_only_for_the_specification_it_is_about(
    status: Object, phase: str, tmp_path: Path
) -> None:
    assert Argo(tmp_path, "onnx").progress(argo(status)).phase == phase


def test_argo_s_weight_is_that_of_the_canary_s_service(tmp_path: Path) -> None:
    assert Argo(tmp_path, "onnx").progress(argo({}, weight=50)).weight == 50


@pytest.mark.parametrize(
    ("status", "weight"),
    [
        ({"phase": "Progressing", "replicas": 4, "updatedReplicas": 1}, 25),
        ({"phase": "Healthy", "replicas": 4, "updatedReplicas": 4}, 0),
        ({"phase": "Degraded", "abort": True, "replicas": 4}, 0),
    ],
)
def test_without_a_proxy_the_weight_is_the_share_of_the_candidate_s_pods(
    status: Object, weight: int, tmp_path: Path
) -> None:
    assert ArgoPods(tmp_path, "onnx").progress(argo(status | {"observedGeneration": "3"})).weight == weight


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("Initialized", "steady"),
        ("Succeeded", "steady"),
        ("Progressing", "moving"),
        ("WaitingPromotion", "moving"),
        ("Finalising", "moving"),
        ("Failed", "rolled back"),
    ],
)
def test_flagger_s_phase_and_the_weight_of_its_route(phase: str, told: str, tmp_path: Path) -> None:
    backends = [{"name": "rcnn-primary", "weight": 75}, {"name": "rcnn-canary", "weight": 25}]
    objects: dict[str, Object] = {
        "/apis/flagger.app/v1beta1/namespaces/e2e/canaries/rcnn": {"status": {"phase": phase}},
        "/apis/gateway.networking.k8s.io/v1/namespaces/e2e/httproutes/rcnn": {
            "spec": {"rules": [{"backendRefs": backends}]}
        },
    }
    progress = Flagger(tmp_path, "onnx").progress(AnswersFrom(objects))
    assert (progress.weight, progress.phase) == (25, told)


@pytest.mark.parametrize(("runs", "told"), [("good", "steady"), ("other", "rolled back")])
def test_flagger_s_failure_is_over_when_what_is_asked_for_is_what_runs(runs: str, told: str, tmp_path: Path) -> None:
    """It starts no release for a rollback of the Deployment, and its phase stays Failed."""
    pods = {
        name: {"containers": [{"env": [{"name": "RCNN_RELEASE", "value": release}]}]}
        for name, release in (("rcnn", "good"), ("rcnn-primary", runs))
    }
    objects: dict[str, Object] = {
        f"/apis/apps/v1/namespaces/e2e/deployments/{name}": {"spec": {"template": {"spec": pod}}}
        for name, pod in pods.items()
    }
    objects["/apis/flagger.app/v1beta1/namespaces/e2e/canaries/rcnn"] = {"status": {"phase": "Failed"}}
    assert Flagger(tmp_path, "onnx").progress(AnswersFrom(objects)).phase == told


def test_before_anything_is_there_it_is_moving(tmp_path: Path) -> None:
    nothing = AnswersFrom({})
    assert (
        Argo(tmp_path, "onnx").progress(nothing) == Flagger(tmp_path, "onnx").progress(nothing) == Progress(0, "moving")
    )


def test_a_pod_that_is_going_is_not_ready() -> None:
    ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready(ready)
    assert not is_ready(ready | {"metadata": {"deletionTimestamp": "2026-11-21T00:00:00Z"}})
    assert not is_ready({"metadata": {}, "status": {}})


def test_what_never_comes_is_told_with_what_was_seen() -> None:
    with pytest.raises(Unexpected, match="a decision; seen: nothing yet"):
        wait_for("a decision", lambda: False, 0.0, lambda: "nothing yet")


def test_changes_go_into_maps_and_take_the_place_of_all_else() -> None:
    before = {"settings": {"engine": "onnx"}, "model": {"bundles": ["m/1"]}}
    assert merged(before, {"settings": {"logLevel": "warning"}, "model": {"bundles": ["m/2"]}}) == {
        "settings": {"engine": "onnx", "logLevel": "warning"},
        "model": {"bundles": ["m/2"]},
    }


def test_an_image_is_named_by_digest_or_by_tag() -> None:
    assert image_values("registry:5000/rcnn@sha256:ab")["image"] == {
        "repository": "registry:5000/rcnn",
        "digest": "sha256:ab",
    }
    assert image_values("registry:5000/rcnn:0.1.0")["image"] == {"repository": "registry:5000/rcnn", "tag": "0.1.0"}
