"""What is measured: a torchvision model, the bundle exported from it, and an image."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from model import architectures
from model.export import export_graphs
from model.restore import restore
from service.bundle import Bundle, read_bundle, write_bundle
from service.images import Limits, decode

ZOO = Path(__file__).parent.parent / "zoo"
RESNET50 = "maskrcnn_resnet50_fpn"
_IMAGE_HW = (600, 800)  # torchvision's transform makes it 800 x 1066
_LIMITS = Limits(50_000_000, 50_000_000)
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Subject:
    """image (H, W, 3) RGB goes into both: model takes care of resizing as the bundle's manifest does."""

    name: str
    model: FasterRCNN
    bundle: Bundle
    image: NDArray[np.uint8]


@contextmanager
def subject(name: str) -> Iterator[Subject]:
    """RESNET50 with random weights, or a shipped bundle with the eager model of its own weights."""
    if name == RESNET50:
        with tempfile.TemporaryDirectory(prefix="rcnn-bench-") as folder:
            model = spread(RESNET50, 91)
            bundle = export_resnet50(model, Path(folder), [(800, 1088), (1344, 1344)])
            image = cv2.resize(_golden(read_bundle(ZOO / "blood-cells")), _IMAGE_HW[::-1])
            yield Subject(name, model, bundle, image.astype(np.uint8))
        return
    bundle = read_bundle(ZOO / name)
    model, image = restore(bundle), _golden(bundle)
    _resize_as(model, bundle, image)
    yield Subject(name, model, bundle, image)


@torch.no_grad()
def spread(name: str, num_classes: int) -> FasterRCNN:
    """
    A model with random weights that behaves like a trained one: warmed statistics, scores all over [0, 1].

    On plain random weights all scores tie at one over the number of classes, and nothing survives a threshold.
    """
    torch.manual_seed(0)
    model = architectures.build(name, num_classes)
    model.train()
    for _ in range(4):
        model.backbone(torch.randn(1, 3, 256, 256))
    model.roi_heads.box_predictor.cls_score.weight *= 12
    model.rpn.head.cls_logits.weight *= 12
    return model.eval()


def export_resnet50(model: FasterRCNN, folder: Path, canvas_grid: list[tuple[int, int]]) -> Bundle:
    """model, a RESNET50, as a bundle in folder."""
    export_graphs(model, folder, 1000, _MEAN, _STD)
    manifest: dict[str, Any] = {
        "name": "resnet50",
        "version": "1",
        "task": "segmentation",
        "architecture": RESNET50,
        "labels": [f"class {index}" for index in range(1, 91)],
        "preprocess": {
            "resize": "fit",
            "min_size": 800,
            "max_size": 1333,
            "canvas_grid": [list(canvas_hw) for canvas_hw in canvas_grid],
            "mean": _MEAN,
            "std": _STD,
        },
        "postprocess": {"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 100},
        "provenance": {},
    }
    return write_bundle(folder, manifest)


def _resize_as(model: FasterRCNN, bundle: Bundle, image: NDArray[np.uint8]) -> None:
    """Tell torchvision's transform to bring image to the size the bundle would."""
    spec = bundle.manifest.preprocess
    short = spec.min_size if spec.resize == "fit" else max(spec.min_size, min(image.shape[:2]))
    model.transform.min_size, model.transform.max_size = (short,), spec.max_size
    model.transform.image_mean, model.transform.image_std = list(spec.mean), list(spec.std)
    model.roi_heads.score_thresh = bundle.manifest.postprocess.score_threshold


def _golden(bundle: Bundle) -> NDArray[np.uint8]:
    return decode(bundle.path(bundle.golden_images()[0]).read_bytes(), _LIMITS)
