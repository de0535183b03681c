"""The evidence of every architecture is what building it shows, or what its publisher says."""

import pytest
import torch
from torchvision.models import get_model_weights

from model.architectures import ARCHITECTURES, build

PUBLISHED = [name for name in ARCHITECTURES if "small" not in name and not name.startswith("classic_")]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_are_counted_right(name: str) -> None:
    """As built; published counts leave out the batch norms that the v1 trunks freeze."""
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        model = build(name, architecture.evidence_classes)
    frozen = 0
    if name in PUBLISHED and not name.endswith("_v2"):
        norms = [module for module in model.backbone.body.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        frozen = sum(parameter.numel() for norm in norms for parameter in norm.parameters())
    assert sum(parameter.numel() for parameter in model.parameters()) - frozen == architecture.evidence.params


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_evidence_is_torchvisions_own(name: str) -> None:
    """Parameters, operations and AP as the installed torchvision states them."""
    meta, evidence = get_model_weights(name)["COCO_V1"].meta, ARCHITECTURES[name].evidence
    published = meta["_metrics"]["COCO-val2017"]
    assert (evidence.params, evidence.gflops) == (meta["num_params"], meta["_ops"])
    assert (evidence.box_ap, evidence.mask_ap, evidence.keypoint_ap) == tuple(
        published.get(kind) for kind in ("box_map", "mask_map", "kp_map")
    )


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """Nobody has to look them up."""
    with pytest.raises(ValueError, match="known: fasterrcnn_small_fpn, "):
        build("yolo", 2)
