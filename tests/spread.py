"""Random detectors whose answers mean something: plain random weights make every score tie, which proves nothing."""

from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from model import architectures

CLASSES = 6
_SMALL = {"box_detections_per_img": 100, "rpn_pre_nms_top_n_test": 300, "rpn_post_nms_top_n_test": 100}
_SIDE_PX = 128


@torch.no_grad()
def spread(name: str, classes: int = CLASSES, **options: Any) -> FasterRCNN:
    """Statistics warmed on noise, then the four output layers scaled so that scores and boxes lie far apart."""
    torch.manual_seed(0)
    model = architectures.build(name, classes, **{**_small(name), **options})
    model.transform.min_size, model.transform.max_size = (_SIDE_PX,), _SIDE_PX
    noise = torch.rand(3, _SIDE_PX, _SIDE_PX)
    model.train()
    for _ in range(3):
        model.backbone(torch.randn(2, 3, _SIDE_PX, _SIDE_PX))
    model.eval()
    for layer, deviation in _outputs(model):
        _scale(model, layer, deviation, noise)
    return model


def _outputs(model: FasterRCNN) -> list[tuple[nn.Module, float]]:
    """Upstream first; the standard deviation each shall have."""
    predictor = model.roi_heads.box_predictor
    proposing = (
        [(model.rpn.head.cls_logits, 2.0), (model.rpn.head.bbox_pred, 0.3)] if hasattr(model.rpn, "head") else []
    )
    return [*proposing, (predictor.cls_score, 2.0), (predictor.bbox_pred, 1.0)]


def _small(name: str) -> dict[str, Any]:
    """The classic networks at a quarter of their width, proposals far enough apart for RoI pooling to tell."""
    if not name.startswith("classic_"):
        return _SMALL
    boxes = (
        {"window_sides_px": (24, 64)}
        if "fastrcnn" in name
        else {"anchor_sides_px": (64, 96, 128), "rpn_nms_thresh": 0.5}
    )
    return {**_SMALL, "width": 0.25, "batch_norm": True, "head_channels": 64, **boxes}


def _scale(model: FasterRCNN, layer: nn.Module, deviation: float, image: torch.Tensor) -> None:
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
    model([image])
    hook.remove()
    values = torch.cat([output.flatten(2).flatten() if output.dim() == 4 else output.flatten() for output in seen])
    layer.weight *= deviation / values.std()  # type: ignore[operator]
