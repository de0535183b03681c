"""The views of test-time augmentation: which there are, where they lie, and how boxes come back."""

import numpy as np
import pytest

from service.bundle import Preprocess
from service.preprocess import plan, to_canvas
from service.views import PLAIN, View, mirrored, views_of

SPEC = Preprocess(
    resize="fit",
    min_size=320,
    max_size=448,
    canvas_grid=((320, 448), (448, 320), (448, 448)),
    mean=(0, 0, 0),
    std=(1, 1, 1),
)


def test_each_augmentation_multiplies_the_views() -> None:
    """None: the image as it is. Both: three scales, each mirrored too; the plain view is always the first."""
    assert views_of(()) == (PLAIN,)
    assert views_of(("flip",)) == (PLAIN, View(is_mirrored=True))
    assert [view.scale for view in views_of(("scale",))] == [1.0, 0.8, 1.25]
    assert len(set(views_of(("flip", "scale")))) == 6 and views_of(("flip", "scale"))[0] == PLAIN


@pytest.mark.parametrize(
    ("scale", "resized", "canvas"), [(0.8, (256, 340), (256, 384)), (1.25, (400, 532), (416, 576))]
)
def test_a_view_lies_on_the_grid_at_its_scale(scale: float, resized: tuple[int, int], canvas: tuple[int, int]) -> None:
    """The image as large as told, on the smallest canvas of the grid at that scale, in whole strides."""
    geometry = plan((480, 640), SPEC, View(scale=scale))
    assert (geometry.resized_hw, geometry.canvas_hw) == (resized, canvas)


@pytest.mark.parametrize("view", views_of(("flip", "scale")), ids=str)
@pytest.mark.parametrize("image_hw", [(480, 640), (640, 480), (90, 1200), (31, 7)])
def test_a_box_drawn_in_the_image_comes_back_from_every_view(view: View, image_hw: tuple[int, int]) -> None:
    """Half the image painted: the painted part of the canvas, taken back, is that half, within a pixel."""
    height, width = image_hw
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 255
    canvas, geometry = to_canvas(image, SPEC, view)
    assert canvas.shape[:2] == geometry.canvas_hw
    resized_h, resized_w = geometry.resized_hw
    columns = np.flatnonzero(canvas[resized_h // 2, :resized_w, 0] > 127)
    box = np.array([[columns[0], 0, columns[-1] + 1, resized_h]], np.float32)
    one_px = width / resized_w + 1
    np.testing.assert_allclose(geometry.to_image_pixels(box), [[0, 0, width // 2, height]], atol=one_px)


def test_a_mirrored_box_mirrored_is_itself() -> None:
    """Left and right change places; there and back is where it was."""
    boxes = np.array([[1, 2, 4, 9], [0, 0, 10, 10]], np.float32)
    assert mirrored(boxes, 10).tolist() == [[6, 2, 9, 9], [0, 0, 10, 10]]
    assert mirrored(mirrored(boxes, 10), 10).tolist() == boxes.tolist()
