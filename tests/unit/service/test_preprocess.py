"""Image -> canvas and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import Preprocess
from service.preprocess import plan, resized_hw, to_canvas

GRID = ((256, 256), (256, 512), (512, 256), (512, 512))
FIT = Preprocess(resize="fit", min_size=256, max_size=512, canvas_grid=GRID, mean=(0, 0, 0), std=(1, 1, 1))
BOUND = FIT.model_copy(update={"resize": "bound"})
SIDES = st.integers(1, 5000)


@pytest.mark.parametrize(
    ("image_hw", "fit", "bound"),
    [
        pytest.param((100, 150), (256, 384), (256, 384), id="small is enlarged"),
        pytest.param((300, 400), (256, 341), (300, 400), id="between the bounds, bound leaves it alone"),
        pytest.param((1000, 1000), (256, 256), (512, 512), id="large is shrunk"),
        pytest.param((20, 4000), (2, 512), (2, 512), id="the longer side wins"),
        pytest.param((1, 1), (256, 256), (256, 256), id="one pixel"),
        pytest.param((1, 5000), (1, 512), (1, 512), id="never below one pixel"),
    ],
)
def test_sizes_follow_the_two_rules(image_hw: tuple[int, int], fit: tuple[int, int], bound: tuple[int, int]) -> None:
    """fit is torchvision's rule; bound keeps native size between its bounds."""
    assert resized_hw(image_hw, FIT) == fit
    assert resized_hw(image_hw, BOUND) == bound


@given(st.tuples(SIDES, SIDES), st.sampled_from([FIT, BOUND]))
def test_every_image_has_a_canvas_that_holds_it(image_hw: tuple[int, int], spec: Preprocess) -> None:
    """Whatever arrives fits, on the smallest canvas of the grid that can take it."""
    geometry = plan(image_hw, spec)
    fits = [c for c in GRID if c[0] >= geometry.resized_hw[0] and c[1] >= geometry.resized_hw[1]]
    assert geometry.canvas_hw in fits
    assert geometry.canvas_hw[0] * geometry.canvas_hw[1] == min(c[0] * c[1] for c in fits)


@given(st.tuples(SIDES, SIDES), st.sampled_from([FIT, BOUND]))
def test_the_whole_canvas_image_maps_to_the_whole_image(image_hw: tuple[int, int], spec: Preprocess) -> None:
    """Boxes come back in the pixels of the image as sent."""
    geometry = plan(image_hw, spec)
    height, width = geometry.resized_hw
    whole = geometry.to_image_pixels(np.array([[0, 0, width, height]], np.float32))
    np.testing.assert_allclose(whole, [[0, 0, image_hw[1], image_hw[0]]], rtol=1e-6)


def test_beyond_the_image_the_canvas_is_black() -> None:
    """Padding is zero, bottom and right."""
    used = [np.full((512, 512, 3), 255, np.uint8) for _ in range(4)]
    del used  # the allocator has memory to give that is not black
    canvas, geometry = to_canvas(np.full((300, 400, 3), 200, np.uint8), BOUND)
    assert geometry.canvas_hw == canvas.shape[:2] == (512, 512)
    assert canvas[:300, :400].min() == 200
    assert canvas[300:].max() == canvas[:, 400:].max() == 0
