"""Few canvases with little padding, and none of the images left without one."""

import itertools

import numpy as np
import pytest

from model.canvases import choose, exact
from service.bundle import Preprocess
from service.preprocess import plan, resized_hw

FIT = Preprocess(min_size=320, max_size=512, canvas_grid=((512, 512),), mean=(0, 0, 0), std=(1, 1, 1))
SIZES = [(480, 640)] * 6 + [(640, 480)] * 3 + [(500, 500)] * 2 + [(427, 640), (720, 1280)]


def padding(shapes: tuple[tuple[int, int], ...], spec: Preprocess) -> float:
    """As serving lays the images: by preprocess.plan."""
    grid = spec.model_copy(update={"canvas_grid": shapes})
    canvases = sum(np.prod(plan(size, grid).canvas_hw) for size in SIZES)
    return 1 - sum(np.prod(resized_hw(size, spec)) for size in SIZES) / canvases


def test_the_figure_printed_is_the_padding_served() -> None:
    """Every grid's padding is what serving computes with it, and each further canvas saves a hundredth or more."""
    grids = choose(SIZES, FIT, 8)
    assert [grid.padding for grid in grids] == pytest.approx([padding(grid.shapes, FIT) for grid in grids])
    assert all(before.padding - after.padding >= 0.01 for before, after in itertools.pairwise(grids))
    assert exact(SIZES, FIT).padding <= grids[-1].padding


def test_the_choice_is_as_good_as_trying_everything() -> None:
    """Against every triple of canvases that holds all images."""
    sides = range(288, 545, 32)
    fixed = ((320, 512), (512, 320))
    best = min(padding((*fixed, third), FIT) for third in itertools.product(sides, sides))
    assert choose(SIZES, FIT, 3)[-1].padding == pytest.approx(best)


@pytest.mark.parametrize("resize", ["fit", "bound"])
def test_any_image_has_a_canvas(resize: str) -> None:
    """Also those unlike the sizes it was chosen for."""
    spec = FIT.model_copy(update={"resize": resize})
    shapes = choose(SIZES, spec, 5)[-1].shapes
    chosen = Preprocess.model_validate(spec.model_dump() | {"canvas_grid": shapes})
    for size in [(1, 1), (1, 5000), (5000, 1), (3000, 3000), (200, 300)]:
        canvas, resized = plan(size, chosen).canvas_hw, resized_hw(size, chosen)
        assert canvas[0] >= resized[0] and canvas[1] >= resized[1]
