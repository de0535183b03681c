"""Four ways to bring models, chosen by one value: what each does to the pod."""

from collections.abc import Callable
from typing import Any

Render = Callable[..., Any]

MOUNT = {"name": "models", "mountPath": "/models", "readOnly": True}
BUNDLES = "model.bundles={maskrcnn-r50/3,frcnn/1}"


def test_by_default_the_models_in_the_image_are_served(render: Render) -> None:
    """No volume, no init container, and the service is told of no other bundles."""
    objects = render()
    assert "RCNN_BUNDLES" not in objects.environment
    assert "initContainers" not in objects.pod
    assert "models" not in [volume["name"] for volume in objects.pod["volumes"]]


def test_models_on_a_claim_are_mounted_read_only_and_named(render: Render) -> None:
    """A claim replaces the baked models: the pod sees it, cannot change it, and is told which bundles to serve."""
    objects = render("--set", "model.source=claim,model.claim.name=zoo", "--set", BUNDLES)
    assert objects.environment["RCNN_BUNDLES"] == "/models/maskrcnn-r50/3,/models/frcnn/1"
    assert MOUNT in objects.container["volumeMounts"]
    claim = {"claimName": "zoo", "readOnly": True}
    assert {"name": "models", "persistentVolumeClaim": claim} in objects.pod["volumes"]


def test_models_in_an_oci_image_are_mounted_as_a_volume(render: Render) -> None:
    """The kubelet pulls them as it pulls images; nothing of ours runs for it."""
    objects = render("--set", "model.source=image,model.image.reference=registry.example/models:7", "--set", BUNDLES)
    assert objects.environment["RCNN_BUNDLES"].startswith("/models/maskrcnn-r50/3,")
    assert MOUNT in objects.container["volumeMounts"]
    image = {"reference": "registry.example/models:7", "pullPolicy": "IfNotPresent"}
    assert {"name": "models", "image": image} in objects.pod["volumes"]


def test_only_the_init_container_that_fetches_models_sees_the_keys_to_the_store(render: Render) -> None:
    """It writes where the service then only reads, and is as locked up as the service itself."""
    objects = render(
        "--set", "model.source=fetch,model.fetch.url=s3://models/detection,model.fetch.secretName=reader",
        "--set", BUNDLES,
        "--set", "networkPolicy.egress[0].ports[0].port=443",
    )  # fmt: skip
    (fetch,) = objects.pod["initContainers"]
    assert fetch["args"] == ["s3://models/detection", "/models", "maskrcnn-r50/3", "frcnn/1"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "reader"}}]
    assert {"name": "models", "mountPath": "/models"} in fetch["volumeMounts"]
    assert fetch["securityContext"] == objects.container["securityContext"]
    assert "envFrom" not in objects.container
    assert MOUNT in objects.container["volumeMounts"]
    assert {"name": "models", "emptyDir": {"sizeLimit": "4Gi"}} in objects.pod["volumes"]
