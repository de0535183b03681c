import numpy as np
import pytest

from service.bundle import Proposals
from service.errors import InvalidOption
from service.proposals import padded, regions_on_canvas, windows

SPEC = Proposals(most=3, sides_px=(32, 64), height_to_width=(0.5, 1.0, 2.0), step=0.25)


def test_windows_have_every_size_and_shape_and_stay_on_the_image() -> None:
    boxes = windows(SPEC, (240, 320))
    assert boxes.dtype == np.float32 and (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() == 0 and boxes[:, 2].max() == 320 and boxes[:, 3].max() == 240
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = np.sqrt(sides.prod(1)).round()
    ratios = (sides[:, 1] / sides[:, 0]).round(1)
    for side in (32, 64):
        for ratio in (0.5, 1.0, 2.0):
            assert ((areas == side) & (ratios == ratio)).any()


def test_every_object_of_a_size_between_windows_has_one_that_overlaps_by_half() -> None:
    boxes, rng = windows(SPEC, (240, 320)), np.random.default_rng(0)
    for _ in range(200):
        side = rng.uniform(32, 64)
        x, y = rng.uniform(0, 320 - side), rng.uniform(0, 240 - side)
        object_xyxy = np.array([x, y, x + side, y + side])
        shared = np.minimum(boxes[:, 2:], object_xyxy[2:]) - np.maximum(boxes[:, :2], object_xyxy[:2])
        intersection = np.maximum(shared, 0).prod(1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + side * side - intersection
        assert (intersection / union).max() >= 0.5


def test_no_two_windows_round_to_the_same_cells() -> None:
    cells = np.floor(windows(SPEC, (240, 320)) / 16 + 0.5)
    assert len(np.unique(cells, axis=0)) == len(cells)


def test_regions_sent_are_brought_to_the_canvas_and_cut_at_its_edge() -> None:
    regions = regions_on_canvas(SPEC, ((10, 20, 30, 60), (-50, 0, 100, 1000)), (200, 100), (100, 50))
    assert regions is not None and regions.tolist() == [[5, 10, 15, 30], [0, 0, 50, 100]]


def test_a_request_without_regions_gets_windows_and_a_model_that_makes_its_own_gets_none() -> None:
    regions = regions_on_canvas(SPEC, (), (480, 640), (240, 320))
    assert regions is not None and np.array_equal(regions, windows(SPEC, (240, 320)))
    assert regions_on_canvas(None, (), (480, 640), (240, 320)) is None


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (((0, 0, 5, 5),) * 4, "4 boxes; at most 3"),
        (((0, 0, 5, 5), (5, 5, 5, 9)), "box 1 is .* expected x1 < x2"),
        (((300, 0, 400, 5),), "at least partly in the image of 200 x 100 pixels"),
        (((float("nan"), 0, 4, 5),), "box 0"),
    ],
)
def test_regions_that_are_none_are_refused_by_number(boxes: tuple[tuple[float, ...], ...], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        regions_on_canvas(SPEC, boxes, (100, 200), (100, 200))  # type: ignore[arg-type]


def test_a_model_that_makes_its_own_regions_refuses_those_sent() -> None:
    with pytest.raises(InvalidOption, match="only a Fast R-CNN takes them"):
        regions_on_canvas(None, ((0, 0, 5, 5),), (100, 200), (100, 200))


def test_a_batch_is_padded_with_boxes_without_area() -> None:
    two, none = np.ones((2, 4), np.float32), np.ones((1, 4), np.float32)
    stacked = padded([two, none])
    assert stacked.shape == (2, 2, 4) and stacked[1, 1].tolist() == [0, 0, 0, 0] and (stacked[0] == 1).all()
