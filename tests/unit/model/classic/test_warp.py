"""Warping puts the box where the paper puts it, and its surroundings around it."""

import numpy as np

from model.classic.warp import warp

FILL = (7, 8, 9)


def plain_warp(image: np.ndarray, box: np.ndarray, side: int, context: int) -> np.ndarray:
    """Bilinear sampling, a pixel at a time; nothing outside the image."""
    height, width = image.shape[:2]
    scale = (side - 2 * context) / (box[2:] - box[:2])
    result = np.zeros((side, side, 3))
    for row in range(side):
        for column in range(side):
            x = (column + 0.5 - context) / scale[0] + box[0] - 0.5
            y = (row + 0.5 - context) / scale[1] + box[1] - 0.5
            left, top = int(np.floor(x)), int(np.floor(y))
            for dy in (0, 1):
                for dx in (0, 1):
                    part = (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
                    inside = 0 <= top + dy < height and 0 <= left + dx < width
                    result[row, column] += part * (image[top + dy, left + dx] if inside else np.array(FILL))
    return result


def test_warping_equals_sampling_by_hand() -> None:
    """Random boxes, some over the edge, tall ones and wide ones; within OpenCV's fixed-point weights."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 60, 3), np.uint8)
    boxes = np.array([[5, 5, 25, 35], [0, 0, 60, 40], [50, 30, 60, 40], [-4, 3, 20.5, 9.25]], np.float32)
    squares = warp(image, boxes, FILL, side_px=24, context_px=3)
    for square, box in zip(squares, boxes, strict=True):
        assert np.abs(square - plain_warp(image, box, 24, 3)).max() < 10
        assert np.abs(square - plain_warp(image, box, 24, 3)).mean() < 2


def test_sixteen_pixels_around_a_region_are_its_surroundings() -> None:
    """227 x 227: a box of one colour fills all but 16 pixels on every side; over the edge comes the fill."""
    image = np.full((100, 100, 3), 50, np.uint8)
    image[20:60, 30:80] = 200
    square = warp(image, np.array([[30, 20, 80, 60]], np.float32), FILL)[0]
    assert square.shape == (227, 227, 3)
    assert (square[19:-19, 19:-19] == 200).all() and (square[:13] == 50).all() and (square[:, -13:] == 50).all()
    corner = warp(image, np.array([[0, 0, 50, 50]], np.float32), FILL)[0]
    assert (corner[:12] == FILL).all() and (corner[:, :12] == FILL).all() and (corner[20, 20] == 50).all()


def test_no_region_gives_no_square_and_a_thin_one_gives_one() -> None:
    """Nothing is divided by zero."""
    image = np.zeros((10, 10, 3), np.uint8)
    assert warp(image, np.zeros((0, 4), np.float32), FILL).shape == (0, 227, 227, 3)
    assert warp(image, np.array([[3, 3, 3, 8]], np.float32), FILL).shape == (1, 227, 227, 3)
