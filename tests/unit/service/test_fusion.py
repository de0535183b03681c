"""Weighted boxes fusion against the paper's steps written plainly, and masks averaged over the fused boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.detections import NmsOptions
from service.postprocess.boxes import Picked
from service.postprocess.fusion import FUSION_IOU, Shown, asked_of_views, fuse

EVERYTHING = NmsOptions(0.0, 0.5, "hard", False, 1000, None)
Row = tuple[int, float, tuple[float, float, float, float]]  # label, score, box


def shown(*rows: Row, masks: NDArray[np.float32] | None = None) -> Shown:
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    scores, labels = np.array([s for _, s, _ in rows], np.float32), np.array([label for label, _, _ in rows], np.int64)
    return Shown(Picked(boxes, scores, labels), masks)


def iou(a: list[float], b: list[float]) -> float:
    common = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def as_in_the_paper(views: list[list[Row]]) -> list[tuple[int, float, list[float]]]:
    """Solovyev et al. 2021, section 3, step by step in plain Python."""
    boxes = sorted((row for rows in views for row in rows), key=lambda row: -row[1])
    lists: list[list[Row]] = []
    fused: list[tuple[int, float, list[float]]] = []
    for label, score, box in boxes:
        overlaps = [iou(list(box), other) if label == known else 0.0 for known, _, other in fused]
        if overlaps and max(overlaps) > FUSION_IOU:
            place = overlaps.index(max(overlaps))
        else:
            place = len(fused)
            lists.append([])
            fused.append((label, score, list(box)))
        lists[place].append((label, score, box))
        own = lists[place]
        total = sum(row[1] for row in own)
        mean = [sum(row[1] * row[2][axis] for row in own) / total for axis in range(4)]
        fused[place] = (label, total / len(own), mean)
    rescaled = [
        (label, score * min(len(own), len(views)) / len(views), box)
        for (label, score, box), own in zip(fused, lists, strict=True)
    ]
    return sorted(rescaled, key=lambda row: -row[1])


CORNERS = st.integers(0, 24).map(float)
SIDES = st.integers(4, 24).map(float)
ROWS = st.tuples(st.integers(1, 2), st.integers(1, 997), CORNERS, CORNERS, SIDES, SIDES)


@settings(deadline=None)
@given(st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=4))
def test_boxes_are_fused_as_the_paper_says(drawn: list[list[tuple[int, int, float, float, float, float]]]) -> None:
    """Any boxes of any views: the same objects, scores and boxes as the paper's steps give."""
    taken: set[int] = set()  # scores that are equal have no order in the paper
    views: list[list[Row]] = []
    for view in drawn:
        rows: list[Row] = []
        for label, thousandths, x, y, width, height in view:
            if thousandths not in taken:
                taken.add(thousandths)
                rows.append((label, float(np.float32(thousandths / 1000)), (x, y, x + width, y + height)))
        views.append(rows)
    found = fuse([shown(*rows) for rows in views], EVERYTHING).picked
    expected = as_in_the_paper(views)
    assert len(found.scores) == len(expected)
    np.testing.assert_allclose(found.scores, [row[1] for row in expected], rtol=1e-5)
    rows = sorted(zip(found.label_ids.tolist(), found.scores.round(4).tolist(), found.boxes_xyxy.tolist(), strict=True))
    for (label, _, box), (other, _, known) in zip(
        rows, sorted((label, round(s, 4), box) for label, s, box in expected), strict=True
    ):
        assert label == other
        np.testing.assert_allclose(box, known, atol=1e-3)


def test_what_one_view_alone_shows_counts_for_less() -> None:
    """Seen by both views: the mean score. Seen by one of two: half of its own."""
    both, alone = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    found = fuse([shown((1, 0.9, both), (1, 0.8, alone)), shown((1, 0.7, both))], EVERYTHING).picked
    np.testing.assert_allclose(found.scores, [0.8, 0.4], rtol=1e-6)


def test_thresholds_and_numbers_hold_for_what_is_fused() -> None:
    """A view may see less than is asked for, the answer not; no more are sent than asked for, best first."""
    options = NmsOptions(0.5, 0.5, "hard", False, 1, None, label_score_thresholds={2: 0.3})
    assert asked_of_views(options).score_threshold == 0.25
    assert asked_of_views(options).label_score_thresholds == {2: 0.15}
    box, other = (0.0, 0.0, 10.0, 10.0), (30.0, 0.0, 40.0, 10.0)
    views = [shown((1, 0.6, box), (2, 0.35, other)), shown((1, 0.3, box), (2, 0.35, other))]
    found = fuse(views, options).picked
    assert found.label_ids.tolist() == [2]
    np.testing.assert_allclose(found.scores, [0.35], rtol=1e-6)


def test_classes_fuse_apart_unless_they_are_not_to_count() -> None:
    """The same box as two classes is two objects; class-agnostic, one of the class that scored better."""
    box = (0.0, 0.0, 10.0, 10.0)
    views = [shown((1, 0.6, box)), shown((2, 0.9, box))]
    assert fuse(views, EVERYTHING).picked.label_ids.tolist() == [2, 1]
    agnostic = fuse(views, NmsOptions(0.0, 0.5, "hard", True, 1000, None)).picked
    assert agnostic.label_ids.tolist() == [2]
    np.testing.assert_allclose(agnostic.scores, [0.75], rtol=1e-6)


def test_masks_are_averaged_by_score_where_they_lie_in_the_image() -> None:
    """Over the same box cell by cell; over boxes that differ, each mask stays where its own box had it."""
    grids = np.stack([np.full((28, 28), 0.9), np.full((28, 28), 0.3)]).astype(np.float32)
    box = (0.0, 0.0, 28.0, 28.0)
    same = fuse([shown((1, 0.75, box), masks=grids[:1]), shown((1, 0.25, box), masks=grids[1:])], EVERYTHING)
    assert same.probabilities is not None
    np.testing.assert_allclose(same.probabilities[0], 0.75, rtol=1e-6)
    halves = np.zeros((2, 28, 28), np.float32)
    halves[0, :, 14:] = 1  # of (0, 0, 28, 28): columns from x = 14
    halves[1, :, 7:] = 1  # of (7, 0, 35, 28): the same columns
    moved = (7.0, 0.0, 35.0, 28.0)
    found = fuse([shown((1, 0.5, box), masks=halves[:1]), shown((1, 0.5, moved), masks=halves[1:])], EVERYTHING)
    assert found.probabilities is not None
    np.testing.assert_allclose(found.picked.boxes_xyxy, [[3.5, 0.0, 31.5, 28.0]])
    assert (found.probabilities[0, :, :10] <= 0.5).all() and (found.probabilities[0, :, 11:24] > 0.5).all()


@pytest.mark.parametrize("masked", [True, False])
def test_nothing_seen_is_nothing_found(masked: bool) -> None:
    """Views without a detection, or with some of no use, give an empty answer of the same kind."""
    nothing = np.zeros((0, 1, 1), np.float32) if masked else None
    one = np.ones((1, 28, 28), np.float32) if masked else None
    assert len(fuse([shown(masks=nothing), shown(masks=nothing)], EVERYTHING).picked.scores) == 0
    faint = shown((1, 0.3, (0.0, 0.0, 9.0, 9.0)), masks=one)
    found = fuse([faint, shown(masks=nothing)], NmsOptions(0.5, 0.5, "hard", False, 10, None))
    assert len(found.picked.scores) == 0 and (found.probabilities is not None) == masked
