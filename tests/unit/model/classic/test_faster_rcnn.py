"""A tiny ZF on small images: what each step changes, what it leaves alone, and the counts of the paper."""

import copy
from typing import Any

import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from model.classic.faster_rcnn import ClassicFasterRCNN, build_faster_rcnn
from model.classic.steps import FOUR_STEPS, STEPS

TINY: dict[str, Any] = {
    "trunk": "zf",
    "width": 0.1,
    "batch_norm": True,
    "anchor_sides_px": (24, 48, 96),
    "head_channels": 16,
    "min_size": 96,
    "max_size": 128,
}
OBJECTS = {"boxes": torch.tensor([[10.0, 10, 60, 50], [70, 40, 110, 90]]), "labels": torch.tensor([1, 2])}


def tiny(seed: int = 0, **options: Any) -> ClassicFasterRCNN:
    torch.manual_seed(seed)
    return build_faster_rcnn(4, **{**TINY, **options})


def step_once(model: ClassicFasterRCNN) -> dict[str, float]:
    """One step of plain SGD over two images."""
    model.train()
    torch.manual_seed(5)
    losses = model([torch.rand(3, 96, 128), torch.rand(3, 96, 128)], [OBJECTS, OBJECTS])
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.optim.SGD(learning, 0.1).zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    torch.optim.SGD(learning, 0.1).step()
    return {name: float(value.detach()) for name, value in losses.items()}


def changed(before: dict[str, torch.Tensor], model: ClassicFasterRCNN) -> set[str]:
    """The parts of the model with a weight or a statistic that is not what it was, bit for bit."""
    after = model.state_dict()
    return {name.split(".")[0] for name in after if name in before and not torch.equal(before[name], after[name])}


def test_the_heads_have_2k_4k_and_k_plus_1_4k_outputs() -> None:
    model = build_faster_rcnn(21, **{**TINY, "anchor_sides_px": (128, 256, 512)})
    assert (model.rpn.head.cls_logits.out_channels, model.rpn.head.bbox_pred.out_channels) == (2 * 9, 4 * 9)
    predictor = model.roi_heads.box_predictor
    assert (predictor.cls_score.out_features, predictor.bbox_pred.out_features) == (20 + 1, 4 * 20)


def test_the_paper_s_networks_have_512_and_256_rpn_channels_and_4096_in_the_head() -> None:
    with torch.device("meta"):
        for trunk, channels in (("vgg16", 512), ("zf", 256)):
            model = build_faster_rcnn(21, trunk=trunk)  # type: ignore[arg-type]
            assert model.rpn.head.conv.out_channels == channels
            assert model.roi_heads.box_head.fc7.out_features == 4096


def test_a_softmax_of_the_two_scores_is_the_sigmoid_of_what_the_rpn_gives() -> None:
    head, feature = tiny().rpn.head, torch.randn(1, 24, 3, 4)
    logits = head([feature])[0][0]
    pairs = head.cls_logits(head.conv(feature).relu()).view(1, 9, 2, 3, 4)
    torch.testing.assert_close(pairs.softmax(2)[:, :, 1], logits.sigmoid())


def test_at_most_2000_proposals_in_training_and_300_at_test_overlap_at_most_by_seven_tenths() -> None:
    model = tiny(anchor_sides_px=(16, 32, 64, 96))
    images = ImageList(torch.rand(1, 3, 320, 512), [(320, 512)])
    features = model.backbone(images.tensors)
    for training, most in ((True, 2000), (False, 300)):
        model.rpn.train(training)
        (proposals,), _ = model.rpn(images, features)
        assert 250 < len(proposals) <= most
        overlaps = box_iou(proposals, proposals) - torch.eye(len(proposals))
        assert float(overlaps.max()) <= 0.7
        assert float(proposals.min()) >= 0 and (proposals <= torch.tensor([512, 320, 512, 320])).all()


@pytest.mark.parametrize(
    ("step", "losses", "learns"),
    [
        ("joint", 4, {"backbone", "rpn", "roi_heads"}),
        ("rpn", 2, {"backbone", "rpn"}),
        ("detector", 2, {"backbone", "roi_heads"}),
        ("rpn_shared", 2, {"rpn"}),
        ("detector_shared", 2, {"roi_heads"}),
    ],
)
def test_a_step_changes_its_own_layers_and_leaves_the_others_bitwise(step: Any, losses: int, learns: set[str]) -> None:
    model = tiny()
    model.begin(step)
    before = copy.deepcopy(model.state_dict())
    assert len(step_once(model)) == losses
    assert changed(before, model) == learns


def test_the_four_steps_share_nothing_at_first_and_one_frozen_trunk_in_the_end() -> None:
    model = tiny()
    first, second, third, fourth = FOUR_STEPS
    model.begin(first)
    step_once(model)
    trunk_of_rpn = copy.deepcopy(model.backbone.state_dict())
    rpn_of_step_1 = copy.deepcopy(model.rpn.state_dict())

    model.begin(second)
    proposer = model.proposer
    assert proposer is not None and model.backbone is not proposer.backbone
    step_once(model)
    for name, value in trunk_of_rpn.items():
        assert torch.equal(proposer.backbone.state_dict()[name], value)
    assert all(torch.equal(proposer.rpn.state_dict()[name], value) for name, value in rpn_of_step_1.items())
    trunk_of_detector = copy.deepcopy(model.backbone.state_dict())
    assert not torch.equal(trunk_of_detector["body.0.weight"], trunk_of_rpn["body.0.weight"])

    for step in (third, fourth):
        model.begin(step)
        step_once(model)
        assert model.proposer is None
        for name, value in trunk_of_detector.items():
            assert torch.equal(model.backbone.state_dict()[name], value), name
    assert set(model.state_dict()) == set(tiny().state_dict())


def test_a_model_in_its_last_step_finds_as_one_loaded_with_its_weights() -> None:
    model = tiny()
    for step in FOUR_STEPS:
        model.begin(step)
        step_once(model)
    other = tiny(seed=9)
    other.load_state_dict(model.state_dict())
    picture = torch.rand(3, 96, 128)
    found, again = model.eval()([picture])[0], other.eval()([picture])[0]
    assert all(torch.equal(found[name], again[name]) for name in ("boxes", "scores", "labels"))


def test_joint_training_sends_no_gradient_through_the_places_of_proposals() -> None:
    model = tiny()
    model.train()
    losses = model([torch.rand(3, 96, 128)], [OBJECTS])
    (losses["loss_classifier"] + losses["loss_box_reg"]).backward()
    assert model.rpn.head.bbox_pred.weight.grad is None
    assert model.backbone.body[0].weight.grad.abs().sum() > 0


def test_images_without_objects_train_too() -> None:
    model = tiny()
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    for step in STEPS:
        model.begin(step)
        model.train()
        losses = model([torch.rand(3, 96, 128)], [nothing])
        assert all(torch.isfinite(value) for value in losses.values())


def test_an_unknown_step_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: joint, rpn, detector"):
        tiny().begin("fifth")  # type: ignore[arg-type]
