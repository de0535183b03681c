"""What goes out in the story: a model, a good successor, and three releases that are worse in ways that happen."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.judge.proof.candidates import altered, in_bfloat16, weights_by
from loadtests.pictures import Picture, read_pictures, resize_to
from service.bundle import read_bundle

ZOO = Path(__file__).parents[2] / "model/zoo/blood-cells"
CLAIM = "models"
Values = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """changes: chart values that differ from those of the release before. reason: the guard that should find it."""

    name: str
    changes: Values
    is_good: bool
    reason: str = ""


def bundles(serving: int) -> Values:
    return {"model": {"bundles": [f"blood-cells/{serving}"]}}


GOOD = Candidate("good", bundles(2), True)
"""A new model: the same weights in bfloat16."""
SLOW = {
    "onnx": Candidate("slow", {"resources": {"limits": {"cpu": "150m"}}}, False, "latency"),
    "fake": Candidate("slow", {"settings": {"fakeEngineDelayMs": 250}}, False, "latency"),
}
"""By the engine inside, a new configuration: a CPU limit that throttles every batch; an engine that takes longer."""
ERRING = Candidate("erring", {"settings": {"maxImageMegapixels": 0.2}}, False, "errors")
"""A new configuration: half of the images are larger than it allows."""
ERRING_LATER = Candidate("erring later", {"settings": {"maxImageMegapixels": 0.25}}, False, "errors")
"""The same, of images that nobody sends before it has a weight."""
CHANGED = Candidate("detection-changing", bundles(3), False, "disagreement")
"""A new model: its labels are shifted by one."""


def make_bundles(root: Path) -> None:
    """blood-cells/1, the shipped model, and two made of it. Readable for everybody: another user serves them."""
    shutil.rmtree(root, ignore_errors=True)
    source = sorted(ZOO.iterdir())[0]
    shutil.copytree(source, root / "blood-cells/1")
    altered(source, root / "blood-cells/2", {"version": "2"}, change=weights_by(in_bfloat16))
    labels = list(read_bundle(source).manifest.labels)
    altered(source, root / "blood-cells/3", {"version": "3", "labels": labels[1:] + labels[:1]})
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def small_and_large_pictures() -> tuple[list[Picture], list[Picture]]:
    """Golden images of the model at half their size, which is under the limits above, and as they are, above them."""
    golden = read_pictures(sorted(ZOO.iterdir())[0] / "golden")
    halves = [
        resize_to([one], [(one.upright_wh[0] // 2, one.upright_wh[1] // 2)])[0] for one in golden if one.upright_wh
    ]
    return halves, golden


def claim_objects(root: Path) -> list[dict[str, Any]]:
    """A volume on the node's disk, and the claim to it."""
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": CLAIM},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "hostPath": {"path": str(root), "type": "Directory"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": CLAIM,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    return [volume, claim]


def merged(values: Values, changes: Values) -> Values:
    """values with changes in them, maps within maps."""
    result = dict(values)
    for name, change in changes.items():
        before = result.get(name)
        result[name] = merged(before, change) if isinstance(before, dict) and isinstance(change, dict) else change
    return result
