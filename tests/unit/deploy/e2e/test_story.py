"""When an act is over, read from the cluster's objects."""

from pathlib import Path

import pytest

from deploy.e2e.engines import Argo
from deploy.e2e.kubernetes import Object
from deploy.e2e.story import Stage
from tests.unit.deploy.e2e.test_engines import AnswersFrom

PODS = "/api/v1/namespaces/e2e/pods?labelSelector=app.kubernetes.io/instance=rcnn,app.kubernetes.io/component=server"
ROLLOUT = "/apis/argoproj.io/v1alpha1/namespaces/e2e/rollouts/rcnn"


def pod(release: str) -> Object:
    return {"spec": {"containers": [{"env": [{"name": "RCNN_RELEASE", "value": release}]}]}}


@pytest.mark.parametrize(
    ("pods", "phase", "is_over"),
    [
        (["good", "good"], "Healthy", True),
        (["good", "good", "bad"], "Healthy", False),
        (["good", "good"], "Progressing", False),
    ],
)
def test_a_rollback_is_over_when_it_is_steady_and_no_pod_of_the_bad_release_is_left(
    pods: list[str], phase: str, is_over: bool, tmp_path: Path
) -> None:
    objects: dict[str, Object] = {
        PODS: {"items": [pod(release) for release in pods]},
        ROLLOUT: {"metadata": {"generation": 1}, "status": {"observedGeneration": "1", "phase": phase}},
    }
    stage = Stage(AnswersFrom(objects), Argo(tmp_path, "fake"), {})
    assert stage.is_steady_without("bad") == is_over
