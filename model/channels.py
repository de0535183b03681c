"""
Which channels of a detector belong together, and the same detector with fewer of them.

Where layers share or add their outputs, a channel can only be taken out of all of them at once: residual blocks (Li et
al. 2017, Pruning Filters for Efficient ConvNets), the levels of a pyramid, all that read them. Such sets are called
groups, as in DepGraph (Fang et al. 2023). They are written out here, not traced from gradients: none pass from the
detections to the RPN, so a trace misses what reads the pyramid there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FeaturePyramidNetwork

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d
_FPN, _INNER = "backbone.fpn", "backbone.fpn.inner"


class ChannelsInvalid(ValueError):
    """Channels that cannot be taken out, or widths that a model cannot have; the message says which."""


@dataclass(frozen=True)
class Group:
    """Layers and norms, by their names in the model, whose outputs are the same channels; and who reads those."""

    name: str
    writers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)

    def width(self, model: nn.Module) -> int:
        """How many channels there are now."""
        layer = layer_of(model, self.writers[0])
        return layer.weight.shape[output_axis(layer)]


def groups(model: FasterRCNN) -> list[Group]:
    """
    All channels that may go: everything but pixels, class scores, boxes and masks.

    Raises ChannelsInvalid for detectors other than a ResNet with a plain pyramid and torchvision's two-layer box head.
    """
    _check_known(model)
    heads, pyramid = model.roi_heads, Group(_FPN, _children(model, f"{_FPN}.layer_blocks"))
    found = [*_trunk(model), Group(_INNER, _children(model, f"{_FPN}.inner_blocks"), list(pyramid.writers)), pyramid]
    convs = _children(model, "rpn.head.conv")
    pyramid.readers.append(convs[0])
    found += _chain([*convs, ("rpn.head.cls_logits", "rpn.head.bbox_pred")])
    pyramid.readers.append("roi_heads.box_head.fc6")
    box = "roi_heads.box_predictor"
    found += _chain(["roi_heads.box_head.fc6", "roi_heads.box_head.fc7", (f"{box}.cls_score", f"{box}.bbox_pred")])
    if heads.has_mask():
        convs, mask = _children(model, "roi_heads.mask_head"), "roi_heads.mask_predictor"
        pyramid.readers.append(convs[0])
        found += _chain([*convs, f"{mask}.conv5_mask", (f"{mask}.mask_fcn_logits",)])
    return found


def widths(model: FasterRCNN) -> dict[str, int]:
    """Channels by group."""
    return {group.name: group.width(model) for group in groups(model)}


def keep(model: FasterRCNN, kept: Mapping[str, Tensor]) -> None:
    """Leave of each group named only the channels (K,) int64 listed, in their order. In place."""
    for group in groups(model):
        if group.name not in kept:
            continue
        width, index = group.width(model), kept[group.name]
        for name in group.writers:
            _keep_outputs(layer_of(model, name), index)
        for name in group.readers:
            _keep_inputs(layer_of(model, name), index, width)
    model.backbone.out_channels = model.backbone.fpn.layer_blocks[0][0].out_channels


def narrow(model: FasterRCNN, wanted: Mapping[str, int]) -> None:
    """Leave of each group its first channels, as many as wanted. Raises ChannelsInvalid where there are fewer."""
    present = widths(model)
    for name, count in wanted.items():
        if name not in present:
            raise ChannelsInvalid(f"widths: there are no channels {name!r}; known: {', '.join(present)}")
        if not 1 <= count <= present[name]:
            raise ChannelsInvalid(f"widths: {name} has 1 to {present[name]} channels, not {count}")
    keep(model, {name: torch.arange(count) for name, count in wanted.items()})


def _check_known(model: FasterRCNN) -> None:
    pyramid = getattr(model.backbone, "fpn", None)
    known = (
        isinstance(pyramid, FeaturePyramidNetwork)
        and all(len(block) == 1 for block in pyramid.inner_blocks)
        and "layer1" in model.backbone.body
        and isinstance(model.roi_heads.box_head, TwoMLPHead)
        and isinstance(model.roi_heads.box_predictor, FastRCNNPredictor)
        and not model.roi_heads.has_keypoint()
    )
    if not known:
        raise ChannelsInvalid(
            "channels are known of ResNets with a pyramid and torchvision's two-layer box head: the small_fpn "
            "architectures, fasterrcnn_resnet50_fpn and maskrcnn_resnet50_fpn"
        )


def _trunk(model: FasterRCNN) -> Iterator[Group]:
    """Inside of each block, and the sums that blocks add to until one of them changes their number."""
    body = model.backbone.body
    total = Group("backbone.body.stem", ["backbone.body.conv1", "backbone.body.bn1"])
    for stage in (name for name in body if name.startswith("layer")):
        for number, block in enumerate(body[stage]):
            name = f"backbone.body.{stage}.{number}"
            convs = _convolutions(block)
            total.readers.append(f"{name}.conv1")
            if block.downsample is not None:
                total.readers.append(f"{name}.downsample.0")
                yield total
                total = Group(f"backbone.body.{stage}", [f"{name}.downsample.0", f"{name}.downsample.1"])
            for conv, following in pairwise(convs):
                norm = conv.replace("conv", "bn")
                yield Group(f"{name}.{conv}", [f"{name}.{conv}", f"{name}.{norm}"], [f"{name}.{following}"])
            total.writers.extend((f"{name}.{convs[-1]}", f"{name}.{convs[-1].replace('conv', 'bn')}"))
        levels = list(body.return_layers)
        if stage in levels:
            total.readers.append(f"{_FPN}.inner_blocks.{levels.index(stage)}.0")
    yield total


def _convolutions(block: nn.Module) -> list[str]:
    if not isinstance(block, BasicBlock | Bottleneck):
        raise ChannelsInvalid(f"the channels of a {type(block).__name__} are not known")
    return ["conv1", "conv2", "conv3"] if isinstance(block, Bottleneck) else ["conv1", "conv2"]


def _children(model: nn.Module, name: str) -> list[str]:
    """The convolution of every part of a sequence."""
    return [f"{name}.{number}.0" for number in range(len(list(model.get_submodule(name).children())))]


def _chain(layers: list[str | tuple[str, ...]]) -> Iterator[Group]:
    """Layers one after the other, the last of them possibly several."""
    for writer, reader in pairwise(layers):
        assert isinstance(writer, str)
        yield Group(writer, [writer], [reader] if isinstance(reader, str) else list(reader))


def layer_of(model: nn.Module, name: str) -> Layer:
    """A layer or norm that a group names."""
    return cast(Layer, model.get_submodule(name))


def output_axis(layer: Layer) -> int:
    """Of its weight."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


def _keep_outputs(layer: Layer, index: Tensor) -> None:
    _select(layer, "weight", index, output_axis(layer))
    for name in ("bias", "running_mean", "running_var"):
        if getattr(layer, name, None) is not None:
            _select(layer, name, index, 0)
    for name in ("out_channels", "out_features", "num_features"):
        if hasattr(layer, name):
            setattr(layer, name, len(index))


def _keep_inputs(layer: Layer, index: Tensor, width: int) -> None:
    """Where a map of `width` channels was flattened, every channel is several inputs side by side."""
    if isinstance(layer, nn.Linear):
        each = layer.in_features // width
        index = (index[:, None] * each + torch.arange(each)).flatten()
        layer.in_features = len(index)
    elif not isinstance(layer, nn.BatchNorm2d):  # norms read what they write
        layer.in_channels = len(index)
    _select(layer, "weight", index, 1 - output_axis(layer))


def _select(layer: Layer, name: str, index: Tensor, axis: int) -> None:
    values = getattr(layer, name)
    selected = values.detach().index_select(axis, index.to(values.device))
    is_weight = isinstance(values, nn.Parameter)
    setattr(layer, name, nn.Parameter(selected, values.requires_grad) if is_weight else selected)
