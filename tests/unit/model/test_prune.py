"""Which channels go."""

import pytest
import torch

from model.channels import ChannelsInvalid, groups, widths
from model.checkpoint import Checkpoint
from model.prune import best, gigaflops, importance, prune, ratio_of
from model.recipes import Recipe, Stage
from model.restore import build_for
from model.views import Batch

STAGE = Stage(epochs=1, learning_rate=1e-3, view="whole", view_hw=(64, 64), scale_range=(0.9, 1.1))
RECIPE = Recipe(
    name="toy",
    architecture="maskrcnn_small_fpn",
    stages=(STAGE,),
    batch=2,
    model_options={"box_batch_size_per_image": 16, "rpn_post_nms_top_n_train": 50, "widths": {"backbone.fpn": 32}},
    preprocess={"resize": "fit", "min_size": 64, "max_size": 64, "canvas_grid": [[64, 64]]},
    postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
)
NAMES = ["backbone.body.stem", "backbone.body.layer1.0.conv1", "backbone.fpn", "backbone.fpn.inner"]


def batch() -> Batch:
    images = list(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
    mask[:, 8:48, 8:40] = 1
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1]), "masks": mask}
    return images, [target, target]


def test_channels_that_do_nothing_go_first() -> None:
    """A quarter of every group written as zero, then a quarter taken out: just those."""
    torch.manual_seed(0)
    model = build_for(RECIPE, 3)
    silent = {}
    for group in groups(model):
        width = group.width(model)
        silent[group.name] = set(torch.randperm(width)[: width // 4].tolist())
        for writer in group.writers:
            layer = model.get_submodule(writer)
            weight = layer.weight.transpose(0, 1) if isinstance(layer, torch.nn.ConvTranspose2d) else layer.weight
            for values in (weight, layer.bias):
                if values is not None:
                    values.data[list(silent[group.name])] = 0
    felt = importance(model.train(), [batch()])
    for name, values in felt.items():
        alive = set(values.nonzero().flatten().tolist())
        assert alive and not alive & silent[name], name
        assert alive <= set(best(values, 0.25, 1).tolist()), name
    checkpoint = Checkpoint(RECIPE, ("round", "square"), {}, {}, model.state_dict())
    pruned = prune(checkpoint, [batch()], {"": 0.25}, multiple_of=1)
    assert pruned.recipe.model_options["widths"] == {name: len(felt[name]) - len(silent[name]) for name in felt}
    smaller = pruned.build()
    assert widths(smaller) == pruned.recipe.model_options["widths"]
    assert gigaflops(smaller, (64, 64)) < 0.65 * gigaflops(model.eval(), (64, 64))


def test_as_many_stay_as_whole_blocks_hold() -> None:
    """70 of 100 made up to 72, never more than there are, in their order."""
    felt = torch.arange(100.0)
    assert best(felt, 0.3, 8).tolist() == list(range(28, 100))
    assert len(best(felt, 0.0, 8)) == 100
    assert best(felt, 0.99, 8).tolist() == list(range(92, 100))


def test_the_longest_beginning_says_the_share() -> None:
    """A number for all, others for parts, none for the rest."""
    found = ratio_of(NAMES, {"backbone.body": 0.5, "backbone.body.layer1.0": 0.25, "backbone.fpn.inner": 0.1})
    assert found == dict(zip(NAMES, (0.5, 0.25, 0.0, 0.1), strict=True))
    assert set(ratio_of(NAMES, {"": 0.3}).values()) == {0.3}


@pytest.mark.parametrize(("ratios", "words"), [({"head": 0.3}, "no channels are named so"), ({"": 1.0}, "less than 1")])
def test_shares_nobody_has_are_refused(ratios: dict[str, float], words: str) -> None:
    """A name that begins none, a share that leaves nothing."""
    with pytest.raises(ChannelsInvalid, match=words):
        ratio_of(NAMES, ratios)
