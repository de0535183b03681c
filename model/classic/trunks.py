"""
The two trunks of the papers, up to their last convolution: one feature map of stride 16.

VGG-16 (Simonyan & Zisserman 2015, configuration D) has 13 convolutions of 3x3 and, its last pool left to RoI pooling,
four max pools of 2x2. They halve rounding down, as torchvision's, or up, as Caffe's: 1000x600 gives 62x37 or 63x38.
ZF (Zeiler & Fergus 2014, the faster model of He et al. 2014) has 5 convolutions and halves four times, rounding up:
63x38.

Both were pretrained on ImageNet in the papers. To be trained from scratch they take batch normalisation behind every
convolution (which then stands for ZF's local response normalisation) and a width: the part of the channels kept.
"""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights

STRIDE_PX = 16
TrunkName = Literal["vgg16", "zf"]
Rounding = Literal["floor", "ceil"]
_VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)
_ZF = ((96, 7, 2), (256, 5, 2), (384, 3, 1), (384, 3, 1), (256, 3, 1))  # channels, kernel, stride


class WeightsUnfit(ValueError):
    """Pretrained weights that are not those of the trunk; the message says what is missing or differs."""


class Trunk(nn.Module):
    """(N, 3, H, W) normalised pixels -> {"0": (N, out_channels, H / 16, W / 16)}, as torchvision's backbones answer."""

    def __init__(self, body: nn.Sequential, out_channels: int) -> None:
        super().__init__()
        self.body, self.out_channels = body, out_channels

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"0": self.body(pixels)}


def build_trunk(name: TrunkName, *, width: float = 1.0, batch_norm: bool = False) -> Trunk:
    """An untrained trunk; width scales every channel count, to whole multiples of 8. Raises ValueError otherwise."""
    if name not in ("vgg16", "zf"):
        raise ValueError(f"no trunk {name!r}; known: vgg16, zf")
    if not 0 < width <= 1:
        raise ValueError(f"width {width} is not the part of the channels to keep; expected more than 0, at most 1")
    trunk = vgg16(width=width, batch_norm=batch_norm) if name == "vgg16" else zf(width=width, batch_norm=batch_norm)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # He 2015
    return trunk


def vgg16(*, width: float = 1.0, batch_norm: bool = False, rounding: Rounding = "floor") -> Trunk:
    """VGG-16 without its last pool; without batch norms its parts are named as in torchvision's `vgg16().features`."""
    layers: list[nn.Module] = []
    channels = 3
    for step in _VGG16:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=rounding == "ceil"))
            continue
        layers += _convolution(channels, wide := _scaled(step, width), 3, 1, batch_norm)
        channels = wide
    return Trunk(nn.Sequential(*layers), channels)


def zf(*, width: float = 1.0, batch_norm: bool = False) -> Trunk:
    """ZF without its last pool; each of the first two convolutions is followed by a 3x3 max pool of stride 2."""
    layers: list[nn.Module] = []
    channels = 3
    for number, (count, kernel, stride) in enumerate(_ZF):
        layers += _convolution(channels, wide := _scaled(count, width), kernel, stride, batch_norm)
        channels = wide
        if number < 2:
            layers += [] if batch_norm else [nn.LocalResponseNorm(3, alpha=5e-5, beta=0.75)]
            layers.append(nn.MaxPool2d(3, 2, padding=1))
    return Trunk(nn.Sequential(*layers), channels)


def load_vgg16(trunk: Trunk, source: Path | VGG16_Weights) -> None:
    """
    Take over the convolutions of torchvision's VGG-16, from its state dict in a file or downloaded by its enum.

    Raises WeightsUnfit if trunk is not a VGG-16 of full width without batch norms, or the weights are another's.
    """
    state = load_state(source)
    features = {name.replace("features.", "body.", 1): value for name, value in state.items() if "features." in name}
    own = trunk.state_dict()
    if missing := [name for name in own if name not in features]:
        raise WeightsUnfit(f"{source} has no {missing[0].replace('body.', 'features.')}: not torchvision's VGG-16")
    if odd := [name for name in own if own[name].shape != features[name].shape]:
        raise WeightsUnfit(f"{odd[0]} is {tuple(own[odd[0]].shape)} here, {tuple(features[odd[0]].shape)} in {source}")
    trunk.load_state_dict({name: features[name] for name in own})


def load_state(source: Path | VGG16_Weights) -> dict[str, Tensor]:
    """torchvision's VGG-16 as a state dict."""
    if isinstance(source, VGG16_Weights):
        downloaded: dict[str, Tensor] = source.get_state_dict(progress=False, check_hash=True)
        return downloaded
    loaded: dict[str, Any] = torch.load(source, map_location="cpu", weights_only=True)
    return loaded


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width / 8) * 8)


def _convolution(channels: int, wide: int, kernel: int, stride: int, batch_norm: bool) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, wide, kernel, stride, padding=kernel // 2, bias=not batch_norm)
    return [convolution, *([nn.BatchNorm2d(wide)] if batch_norm else []), nn.ReLU(inplace=True)]
