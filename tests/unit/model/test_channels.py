"""Channels are taken out of every layer that shares them, and what is left computes as if they had been zero."""

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN

from model.architectures import build
from model.channels import ChannelsInvalid, groups, keep, widths

PRUNABLE = ["fasterrcnn_small_fpn", "maskrcnn_small_fpn", "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"]


def trained_alike(name: str = "maskrcnn_small_fpn") -> FasterRCNN:
    """Random weights, and norms that have seen something."""
    torch.manual_seed(0)
    model = build(name, 3, min_size=64, max_size=96, box_score_thresh=0.0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def silence(model: FasterRCNN, name: str, gone: torch.Tensor) -> None:
    """Zero the channels wherever they are written: weight, bias and norm."""
    group = next(group for group in groups(model) if group.name == name)
    for writer in group.writers:
        layer = model.get_submodule(writer)
        weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        weight.data[gone] = 0
        if layer.bias is not None:
            layer.bias.data[gone] = 0
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean[gone] = 0


@torch.no_grad()
def test_a_pruned_model_answers_as_its_masked_original() -> None:
    """A third of every group zeroed, or taken out: the same boxes, scores and masks."""
    masked, pruned = trained_alike(), trained_alike()
    kept = {}
    for name, width in widths(masked).items():
        gone = torch.randperm(width)[: width // 3]
        kept[name] = torch.tensor([index for index in range(width) if index not in set(gone.tolist())])
        silence(masked, name, gone)
    keep(pruned, kept)
    assert widths(pruned) == {name: len(index) for name, index in kept.items()}
    picture = [torch.rand(3, 64, 96)]
    (expected,), (found,) = masked(picture), pruned(picture)
    (untouched,) = trained_alike()(picture)
    assert len(expected["boxes"]) > 10 and not torch.equal(expected["boxes"], untouched["boxes"])
    for name in ("boxes", "scores", "labels", "masks"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", PRUNABLE)
def test_every_weight_but_the_ends_belongs_to_a_group(name: str) -> None:
    """Half of all channels leaves a quarter of each kernel; pixels, scores, boxes and masks alone are not halved."""
    with torch.device("meta"):
        whole = build(name, 3)
        half = build(name, 3, widths={group: width // 2 for group, width in widths(whole).items()})
    ends = ("cls_logits", "bbox_pred", "cls_score", "mask_fcn_logits")
    for (weight, old), (_, new) in zip(whole.named_parameters(), half.named_parameters(), strict=True):
        halved = old.dim() if old.dim() == 1 else 2
        if any(end in weight for end in ends) or weight == "backbone.body.conv1.weight":
            halved = 0 if old.dim() == 1 else 1
        assert new.numel() * 2**halved == old.numel(), weight
    assert half.backbone.out_channels == whole.backbone.out_channels // 2


@pytest.mark.parametrize(
    "name", ["fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2", "classic_fasterrcnn_zf"]
)
def test_unknown_channels_are_refused(name: str) -> None:
    """Rather than cut somewhere."""
    with torch.device("meta"), pytest.raises(ChannelsInvalid, match="small_fpn architectures"):
        groups(build(name, 3))


@pytest.mark.parametrize(
    ("wanted", "words"), [({"backbone.body.layer9": 8}, "no channels"), ({"backbone.fpn": 97}, "1 to 96")]
)
def test_widths_that_cannot_be_had_are_refused(wanted: dict[str, int], words: str) -> None:
    """A name nobody has, more channels than there are."""
    with torch.device("meta"), pytest.raises(ChannelsInvalid, match=words):
        build("fasterrcnn_small_fpn", 3, widths=wanted)
