"""Fifty bins, each the greatest value over the cells the paper gives it."""

import math

import pytest
import torch

from model.classic.pyramid_pool import BINS, pyramid_pool, windows


def plain_pyramid(feature: torch.Tensor, window: list[int]) -> torch.Tensor:
    """(C, h, w) and the first and last cell x1, y1, x2, y2 -> (50 * C,), level by level, channels outermost."""
    x1, y1, x2, y2 = window
    part = feature[:, y1 : y2 + 1, x1 : x2 + 1]
    height, width = part.shape[1:]
    levels = []
    for n in (1, 2, 3, 6):
        for channel in part:
            for i in range(n):
                for j in range(n):
                    rows = slice(math.floor(i * height / n), math.ceil((i + 1) * height / n))
                    columns = slice(math.floor(j * width / n), math.ceil((j + 1) * width / n))
                    levels.append(channel[rows, columns].max())
    return torch.stack(levels)


def test_a_region_of_any_size_becomes_fifty_bins() -> None:
    """1 + 4 + 9 + 36."""
    assert BINS == 50
    feature = torch.randn(1, 3, 15, 20)
    assert pyramid_pool(feature, torch.tensor([[0.0, 0, 320, 240], [40, 40, 60, 200]]), 16).shape == (2, 150)


@pytest.mark.parametrize("seed", range(3))
def test_pooling_equals_a_plain_reading_of_the_paper(seed: int) -> None:
    """Random regions of a random map, negative values too."""
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(1, 2, 14, 19, generator=generator)
    corners = torch.rand(40, 2, 2, generator=generator).sort(dim=1).values * torch.tensor([304.0, 224.0])
    boxes = corners.reshape(40, 4)
    found = pyramid_pool(feature, boxes, 16)
    for row, window in zip(found, windows(boxes, 16, (14, 19)).int().tolist(), strict=True):
        assert torch.equal(row, plain_pyramid(feature[0], window))


def test_a_window_holds_the_cells_whose_centres_lie_in_the_box() -> None:
    """Appendix A by hand: x = 16 a is the centre of cell a; a box between two centres keeps the cell it lies in."""
    boxes = torch.tensor([[10.0, 10, 100, 50], [15, 15, 33, 33], [33, 33, 40, 40], [300, 220, 320, 240]])
    found = windows(boxes, 16, (15, 20)).int().tolist()
    assert found == [[1, 1, 6, 3], [1, 1, 2, 2], [2, 2, 2, 2], [19, 14, 19, 14]]
