import torch
from torchvision.models.detection.image_list import ImageList

from model.classic.anchors import CellAnchors, inside


def anchors_of(width: int, height: int, map_wh: tuple[int, int]) -> torch.Tensor:
    images = ImageList(torch.zeros(1, 1, 1, 1).expand(1, 3, height, width), [(height, width)])
    (anchors,) = CellAnchors()(images, [torch.zeros(1, 1, map_wh[1], map_wh[0])])
    return anchors


def by_hand() -> int:
    """The places along each side at which an anchor's far edges stay inside, for every area and shape."""
    count = 0
    for side in (128, 256, 512):
        for ratio in (0.5, 1.0, 2.0):
            half_w, half_h = round(side / ratio**0.5 / 2), round(side * ratio**0.5 / 2)
            columns = sum(half_w <= 8 + 16 * x <= 1000 - half_w for x in range(62))
            count += columns * sum(half_h <= 8 + 16 * y <= 600 - half_h for y in range(37))
    return count


def test_an_image_of_1000x600_has_about_20000_anchors_of_which_8044_lie_inside() -> None:
    """The paper writes roughly 20 000 and about 6000."""
    for map_wh, count in (((62, 37), 20_646), ((63, 38), 21_546)):
        anchors = anchors_of(1000, 600, map_wh)
        assert len(anchors) == count == map_wh[0] * map_wh[1] * 9
        assert int(inside(anchors, (600, 1000)).sum()) == by_hand() == 8_044


def test_the_nine_anchors_of_a_cell_have_three_areas_and_three_shapes_around_its_centre() -> None:
    cell = anchors_of(1000, 600, (62, 37))[:9]
    sides = cell[:, 2:] - cell[:, :2]
    centres = (cell[:, :2] + cell[:, 2:]) / 2
    assert torch.allclose(centres, torch.tensor(8.0))
    areas = sides.prod(1).sqrt().round().tolist()
    assert sorted(round(area / 128) for area in areas) == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    ratios = (sides[:, 1] / sides[:, 0]).tolist()
    assert sorted(round(ratio, 1) for ratio in ratios) == [0.5] * 3 + [1.0] * 3 + [2.0] * 3


def test_anchors_stand_16_pixels_apart_whatever_the_rounding_of_the_map() -> None:
    anchors = anchors_of(1000, 600, (63, 38)).view(38, 63, 9, 4)
    assert (anchors[0, 1, 0] - anchors[0, 0, 0]).tolist() == [16, 0, 16, 0]
    assert (anchors[1, 0, 0] - anchors[0, 0, 0]).tolist() == [0, 16, 0, 16]
