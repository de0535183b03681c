"""Whatever rounding does within its margin, the sure ones are in the answer and nothing impossible is."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from model.rounding import Verdict, above, overlap_bounds, suppress, top

MARGIN, BOX_PX = 0.02, 0.3


def crowd(seed: int, count: int = 40) -> tuple[Tensor, Tensor]:
    """Overlapping boxes (count, 4) and scores of two digits, so that many are close to one another."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + 20 + 20 * torch.rand(count, 2, generator=generator)], 1)
    return boxes, (torch.rand(count, generator=generator) * 100).round() / 100


def everything(count: int) -> Verdict:
    return Verdict(torch.ones(count, dtype=torch.bool), torch.ones(count, dtype=torch.bool))


def shaken(values: Tensor, margin: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return values + (2 * torch.rand(values.shape, generator=generator) - 1) * margin


def assert_within(kept: Tensor, verdict: Verdict) -> None:
    mask = torch.zeros_like(verdict.sure)
    mask[kept] = True
    assert not (verdict.sure & ~mask).any() and not (mask & ~verdict.possible).any()


@pytest.mark.parametrize("seed", range(8))
def test_suppression_stays_between_sure_and_possible(seed: int) -> None:
    """Scores and boxes shaken twenty times within the margin: real NMS never leaves the bracket."""
    boxes, scores = crowd(seed)
    verdict = suppress(boxes, scores, torch.full_like(scores, MARGIN), 0.5, BOX_PX, everything(len(scores)))
    for shake in range(20):
        assert_within(nms(shaken(boxes, BOX_PX, shake), shaken(scores, MARGIN, shake), 0.5), verdict)
    assert verdict.sure.sum() >= 5


def test_suppression_without_doubt_is_plain_nms() -> None:
    """Distinct scores, no margin: sure and possible are both what torchvision keeps."""
    boxes, _ = crowd(1)
    scores = torch.linspace(0.1, 0.9, len(boxes))
    verdict = suppress(boxes, scores, torch.zeros_like(scores), 0.5, 0.0, everything(len(scores)))
    kept = torch.zeros(len(boxes), dtype=torch.bool)
    kept[nms(boxes, scores, 0.5)] = True
    assert torch.equal(verdict.sure, kept) and torch.equal(verdict.possible, kept)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_k_stay_between_sure_and_possible(seed: int) -> None:
    """Ranks around the cut may change, no others."""
    _, scores = crowd(seed)
    verdict = top(scores, torch.full_like(scores, MARGIN), 10, everything(len(scores)))
    for shake in range(20):
        assert_within(shaken(scores, MARGIN, shake).topk(10).indices, verdict)
    assert 10 <= verdict.possible.sum() < len(scores) and verdict.sure.sum() > 0


def test_overlap_bounds_hold_every_shaken_overlap() -> None:
    """Least and greatest IoU, over boxes shaken within the tolerance."""
    boxes, _ = crowd(2)
    least, most = overlap_bounds(boxes, BOX_PX)
    for shake in range(20):
        moved = shaken(boxes, BOX_PX, shake)
        overlap = box_iou(moved, moved)
        assert (least <= overlap + 1e-6).all() and (overlap <= most + 1e-6).all()


def test_a_threshold_is_doubtful_only_within_the_margin() -> None:
    """Below, just below, just above, above."""
    verdict = above(torch.tensor([0.1, 0.495, 0.505, 0.9]), 0.5, 0.01)
    assert verdict.sure.tolist() == [False, False, False, True]
    assert verdict.possible.tolist() == [False, True, True, True]
