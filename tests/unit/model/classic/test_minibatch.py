import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from model.classic.anchors import CellAnchors, inside
from model.classic.minibatch import IGNORED, label_anchors, label_regions, sample


def anchors_of(height: int, width: int, sides_px: tuple[int, ...]) -> torch.Tensor:
    cells = CellAnchors(sides_px)
    grid = [[-(-height // 16), -(-width // 16)]]
    return cells.grid_anchors(grid, [[torch.tensor(16), torch.tensor(16)]])[0]


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 150
    return torch.cat([corner, corner + 10 + torch.rand(count, 2, generator=generator) * 90], 1)


def test_anchors_are_labelled_as_torchvisions_matcher_does_among_those_inside() -> None:
    anchors, image_hw = anchors_of(240, 320, (32, 64, 128)), (240, 320)
    within = inside(anchors, image_hw)
    for seed in range(5):
        boxes = random_boxes(6, seed)
        assigned = label_anchors(anchors, boxes, image_hw)
        matched = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(boxes, anchors[within]))
        labels = torch.where(matched >= 0, 1, torch.where(matched == Matcher.BELOW_LOW_THRESHOLD, 0, IGNORED))
        assert torch.equal(assigned.labels[within], labels)
        assert torch.equal(assigned.objects[within][labels == 1], matched[labels == 1])
        assert (assigned.labels[~within] == IGNORED).all()


def test_an_object_no_anchor_fits_still_gets_the_best_there_is() -> None:
    anchors = torch.tensor([[0.0, 0, 100, 100], [100, 0, 200, 100]])
    assigned = label_anchors(anchors, torch.tensor([[10.0, 10, 40, 40]]), (100, 200))
    assert assigned.labels.tolist() == [1, 0]


def test_without_objects_every_anchor_inside_is_negative() -> None:
    assigned = label_anchors(torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20]]), torch.zeros(0, 4), (10, 10))
    assert assigned.labels.tolist() == [0, IGNORED]


def test_a_minibatch_of_anchors_has_256_of_which_at_most_128_are_positive() -> None:
    labels = torch.tensor([1] * 500 + [0] * 5000 + [IGNORED] * 100)
    chosen = sample(labels, 256, 128)
    assert len(chosen) == 256 and int((labels[chosen] == 1).sum()) == 128
    few = torch.tensor([1] * 7 + [0] * 5000 + [IGNORED] * 100)
    chosen = sample(few, 256, 128)
    assert len(set(chosen.tolist())) == 256 and int((few[chosen] == 1).sum()) == 7 and (few[chosen] >= 0).all()


def test_regions_are_objects_from_half_an_overlap_and_background_from_a_tenth() -> None:
    """Overlaps with the object: 1, 0.5, 0.4, 0.1, 0.05, and none at all."""
    box = torch.tensor([[0.0, 0, 100, 100]])
    regions = torch.tensor([[0.0, 0, 100, w] for w in (100, 50, 40, 10, 5)] + [[200.0, 200, 300, 300]])
    assigned = label_regions(regions, box, torch.tensor([3]))
    assert assigned.labels.tolist() == [3, 3, 0, 0, IGNORED, IGNORED]


def test_a_quarter_of_the_64_regions_of_an_image_are_objects() -> None:
    labels = torch.tensor([2] * 300 + [0] * 300)
    chosen = sample(labels, 64, 16)
    assert (labels[chosen] > 0).sum() == 16 and len(chosen) == 64
