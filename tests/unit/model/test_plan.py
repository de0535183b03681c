"""A recipe fitted to images nobody has written one for."""

from pathlib import Path

import pytest

from model.datasets import DatasetInvalid, read_dataset
from model.plan import plan
from model.recipes import Recipe
from service.bundle import Preprocess
from tests.unit.model.pictures import draw_dataset


def planned(root: Path, size_wh: tuple[int, int] = (96, 64), batch: int = 2) -> Recipe:
    data = read_dataset(draw_dataset(root, {"train": 4}, size_wh), "train")
    return plan(
        data, "maskrcnn_small_fpn", name="My Shapes!", size_px=128, epochs=5, batch=batch, learning_rate=1e-3, seed=3
    )


def test_views_and_canvases_fit_the_images(tmp_path: Path) -> None:
    """96 x 64 pixels at a shorter side of 128 are 192 x 128; the bundle can serve what the recipe says."""
    recipe = planned(tmp_path / "shapes")
    assert recipe.stages[0].view_hw == (128, 192)
    served = Preprocess(**recipe.preprocess, mean=(0, 0, 0), std=(1, 1, 1))
    assert set(served.canvas_grid) == {(128, 192), (192, 128), (192, 192)}
    assert recipe.name == "my-shapes"


def test_the_smallest_anchor_fits_the_smallest_objects(tmp_path: Path) -> None:
    """Objects of 16 to 40 pixels, doubled: 32."""
    assert planned(tmp_path / "shapes").model_options["smallest_anchor_px"] == 32


def test_too_few_images_for_a_batch_are_refused(tmp_path: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(DatasetInvalid, match="4 images, fewer than a batch of 8"):
        planned(tmp_path / "shapes", batch=8)
