import pytest
import torch

from model.checkpoint import Checkpoint, CheckpointInvalid
from model.recipes import Recipe, Stage
from model.restore import build_for

STAGE = Stage(epochs=1, learning_rate=1e-2, view="whole", view_hw=(64, 96), scale_range=(0.9, 1.1))
OPTIONS = {"width": 0.1, "batch_norm": True, "head_channels": 16}
POSTPROCESS = {"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100}


def checkpoint(architecture: str = "classic_fasterrcnn_zf") -> Checkpoint:
    recipe = Recipe("toy", architecture, (STAGE,), batch=2, model_options=OPTIONS, postprocess=POSTPROCESS)
    model = build_for(recipe, 3)
    return Checkpoint(recipe, ("a", "b"), {}, {}, model.state_dict())


def test_a_truncated_checkpoint_builds_a_model_of_those_ranks_with_the_nearest_weights() -> None:
    whole = checkpoint()
    built = whole.truncated((16, 5)).build().roi_heads.box_head
    pooled = torch.randn(4, 24, 7, 7)
    assert [layer.weight.shape[0] for layer in (*built.fc6, *built.fc7)] == [16, 16, 5, 16]
    first = whole.build().roi_heads.box_head.fc6
    torch.testing.assert_close(built.fc6(pooled.flatten(1)), first(pooled.flatten(1)), rtol=1e-3, atol=1e-4)


def test_ranks_there_are_not_are_refused_and_so_is_a_second_time() -> None:
    with pytest.raises(CheckpointInvalid, match="ranks 1 to 16"):
        checkpoint().truncated((17, 5))
    with pytest.raises(CheckpointInvalid, match="no whole fully connected layers"):
        checkpoint().truncated((4, 4)).truncated((2, 2))
