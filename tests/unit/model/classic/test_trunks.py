from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from model.classic.trunks import Trunk, WeightsUnfit, build_trunk, load_vgg16, vgg16, zf


def convolutions(trunk: Trunk) -> list[nn.Conv2d]:
    return [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]


def map_wh(trunk: Trunk, width: int, height: int) -> tuple[int, int]:
    """The size of the feature map, found without computing one."""
    feature = trunk.to("meta")(torch.zeros(1, 3, height, width, device="meta"))["0"]
    return feature.shape[3], feature.shape[2]


def test_vgg16_has_13_convolutions_and_zf_5_with_the_channels_of_the_papers() -> None:
    assert len(convolutions(vgg16())) == 13 and vgg16().out_channels == 512
    assert [c.out_channels for c in convolutions(zf())] == [96, 256, 384, 384, 256]


def test_an_image_of_1000x600_gives_62x37_rounding_down_and_63x38_rounding_up() -> None:
    assert map_wh(vgg16(), 1000, 600) == (62, 37)
    assert map_wh(vgg16(rounding="ceil"), 1000, 600) == (63, 38)
    assert map_wh(zf(), 1000, 600) == (63, 38)


@pytest.mark.parametrize("name", ["vgg16", "zf"])
def test_both_trunks_have_stride_16_whatever_their_width_and_norm(name: str) -> None:
    for width, batch_norm in ((1.0, False), (0.25, True)):
        assert map_wh(build_trunk(name, width=width, batch_norm=batch_norm), 320, 240) == (20, 15)  # type: ignore[arg-type]


def test_a_narrower_trunk_keeps_that_part_of_every_convolution() -> None:
    assert [c.out_channels for c in convolutions(zf(width=0.5, batch_norm=True))] == [48, 128, 192, 192, 128]


def test_a_width_or_name_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="width 2"):
        build_trunk("zf", width=2)
    with pytest.raises(ValueError, match="known: vgg16, zf"):
        build_trunk("alexnet")  # type: ignore[arg-type]


def test_weights_of_torchvisions_vgg16_give_its_very_features(tmp_path: Path) -> None:
    features = make_layers(cfgs["D"])  # as `vgg16().features`
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, tmp_path / "vgg16.pth")
    trunk = vgg16()
    load_vgg16(trunk, tmp_path / "vgg16.pth")
    pixels = torch.rand(1, 3, 48, 64)
    assert torch.equal(trunk(pixels)["0"], features[:30](pixels))


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsUnfit, match=r"has no features\.0\.bias"):
        load_vgg16(vgg16(), tmp_path / "other.pth")
    torch.save(vgg16().state_dict(), tmp_path / "same.pth")
    with pytest.raises(WeightsUnfit, match="has no"):
        load_vgg16(vgg16(batch_norm=True), tmp_path / "same.pth")
