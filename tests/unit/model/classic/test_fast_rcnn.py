"""A tiny Fast R-CNN: its two inputs, what it learns from, and how a pretrained network becomes one."""

import pytest
import torch
from torch import nn
from torchvision.models import VGG

from model.classic.fast_rcnn import ClassicFastRCNN, build_fast_rcnn, from_vgg16
from model.classic.roi_pool import RoiPool

TINY = {"trunk": "zf", "width": 0.1, "batch_norm": True, "window_sides_px": (24, 48), "head_channels": 16}
REGIONS = torch.tensor([[0.0, 0, 40, 40], [30, 20, 90, 80], [60, 10, 120, 90], [5, 50, 60, 95]])
OBJECTS = torch.tensor([[10.0, 10, 60, 50], [70, 40, 110, 90]])


def tiny(**options: object) -> ClassicFastRCNN:
    torch.manual_seed(0)
    return build_fast_rcnn(3, **{**TINY, "min_size": 96, "max_size": 128, **options})  # type: ignore[arg-type]


def test_only_the_regions_given_are_looked_at() -> None:
    model, picture = tiny(box_score_thresh=0.0, box_nms_thresh=1.0).eval(), torch.rand(3, 96, 128)
    for count in (1, 3):
        (found,) = model.detect([picture], [REGIONS[:count]])
        assert len(found["boxes"]) == count * 2
    assert len(model([picture])[0]["boxes"]) == 100


def test_its_losses_come_from_the_targets_rows_of_label_0_and_its_objects() -> None:
    model = tiny().train()
    target = {"boxes": torch.cat([OBJECTS, REGIONS]), "labels": torch.tensor([1, 2, 0, 0, 0, 0])}
    losses = model([torch.rand(3, 96, 128)] * 2, [target] * 2)
    assert set(losses) == {"loss_classifier", "loss_box_reg"}
    sum(losses.values()).backward()
    assert model.backbone.body[0].weight.grad.abs().sum() > 0
    assert torch.isfinite(torch.stack(list(losses.values()))).all()


def test_the_three_changes_to_a_pretrained_vgg16() -> None:
    """No last max pool, two siblings for the last layer, two inputs; every other layer is the very same."""
    with torch.device("meta"):
        network = _vgg16()
        model = from_vgg16(network, 21)
    assert isinstance(model.roi_heads.box_roi_pool, RoiPool)
    pools = [layer for layer in model.backbone.body if isinstance(layer, nn.MaxPool2d)]
    assert len(pools) == 4 and isinstance(network.features[-1], nn.MaxPool2d)
    assert [id(layer) for layer in model.backbone.body] == [id(layer) for layer in network.features[:-1]]
    head, predictor = model.roi_heads.box_head, model.roi_heads.box_predictor
    assert head.fc6 is network.classifier[0] and head.fc7 is network.classifier[3]
    assert (predictor.cls_score.out_features, predictor.bbox_pred.out_features) == (21, 80)


def _vgg16() -> VGG:
    from torchvision.models import vgg16

    return vgg16(weights=None)


def test_truncated_at_full_rank_it_finds_the_same_and_its_factors_have_a_state_of_their_own() -> None:
    model, picture = tiny().eval(), torch.rand(3, 96, 128)
    (before,) = model.detect([picture], [REGIONS])
    model.roi_heads.box_head.truncate(16, 16)
    (after,) = model.detect([picture], [REGIONS])
    torch.testing.assert_close(before["scores"], after["scores"], rtol=1e-3, atol=1e-4)
    other = tiny(svd_ranks=(16, 16))
    other.load_state_dict(model.state_dict())


def test_an_option_it_does_not_have_is_refused_but_those_of_an_rpn_are_left_aside() -> None:
    tiny(rpn_pre_nms_top_n_test=100)
    with pytest.raises(TypeError, match="no option anchors"):
        tiny(anchors=3)
