"""Two answers to the same question, compared object by object."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment

from service.detections import Detections, RleMask
from service.mask_overlap import mask_ious
from service.pairing import Pairing, box_ious, pair

HW = (40, 60)
THRESHOLD = 0.5


def answer(*objects: tuple[tuple[float, float, float, float], str, float], masked: bool = False) -> Detections:
    boxes = np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4)
    masks = tuple(rectangle(*map(int, box)) for box, _, _ in objects) if masked else None
    labels = tuple(label for _, label, _ in objects)
    return Detections(
        HW, boxes, np.array([s for *_, s in objects], np.float32), np.ones(len(labels), np.int64), labels, masks
    )


def rectangle(x1: int, y1: int, x2: int, y2: int) -> RleMask:
    pixels = np.zeros(HW, np.uint8, order="F")
    pixels[y1:y2, x1:x2] = 1
    return rle(pixels)


def rle(pixels: np.ndarray) -> RleMask:
    encoded = coco.encode(np.asfortranarray(pixels, np.uint8))
    return RleMask(pixels.shape, encoded["counts"].decode())


def compared(stable: Detections, candidate: Detections) -> Pairing:
    return pair(stable, candidate, THRESHOLD)


CELL, OTHER = ((5, 5, 25, 25), "cell", 0.9), ((30, 10, 50, 30), "cell", 0.8)
BOTH = answer(CELL, OTHER)


@pytest.mark.parametrize(
    "candidate, outcome, disagreement",
    [
        (BOTH, "agree", 0.0),
        (answer(CELL), "missed", 1 / 3),
        (answer(CELL, OTHER, ((5, 30, 20, 39), "cell", 0.9)), "extra", 1 / 5),
        (answer(CELL, ((30, 10, 50, 30), "platelet", 0.8)), "relabelled", 0.5),
        (answer(CELL, ((33, 12, 53, 32), "cell", 0.8)), "moved", 0.5),
        (answer(CELL, ((30, 10, 50, 30), "cell", 0.65)), "score_shifted", 0.5),
        (answer(), "missed", 1.0),
    ],
)
def test_an_image_is_called_by_the_gravest_thing_in_it(
    candidate: Detections, outcome: str, disagreement: float
) -> None:
    pairing = compared(BOTH, candidate)
    assert pairing.outcome == outcome
    assert pairing.disagreement == pytest.approx(disagreement)


def test_two_answers_without_objects_agree() -> None:
    assert compared(answer(), answer()) == Pairing("agree", 0.0, objects={"missed": 0, "extra": 0})


def test_a_mask_that_shrinks_in_the_same_box_is_a_changed_mask() -> None:
    stable = answer(CELL, masked=True)
    changed = replace(stable, masks=(rectangle(5, 5, 25, 15),))
    pairing = compared(stable, changed)
    assert pairing.outcome == "mask_changed"
    assert pairing.matches[0].mask_iou == pytest.approx(0.5)
    assert compared(stable, replace(stable, masks=None)).outcome == "mask_changed"


def test_an_object_near_the_threshold_may_come_and_go() -> None:
    faint = answer(CELL, ((30, 10, 50, 30), "cell", 0.58))
    assert compared(faint, answer(CELL)).outcome == compared(answer(CELL), faint).outcome == "agree"
    assert compared(answer(CELL, OTHER), answer(CELL)).outcome == "missed"


def test_a_partner_of_the_same_label_is_preferred_to_a_closer_one_of_another() -> None:
    pairing = compared(answer(CELL), answer(((5, 5, 25, 25), "platelet", 0.9), ((6, 5, 26, 25), "cell", 0.9)))
    assert [(match.candidate, match.outcome) for match in pairing.matches] == [(1, "agree")]
    assert pairing.extra == (0,)


def test_answers_about_images_of_different_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="images of"):
        compared(BOTH, replace(BOTH, image_hw=(40, 61)))


boxes = st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)
answers = st.lists(st.tuples(boxes, st.sampled_from(["cell", "platelet"]), st.floats(0.5, 1)), max_size=8).map(
    lambda objects: answer(*objects)
)


@given(answers, answers)
def test_who_is_called_stable_changes_only_the_names(one: Detections, other: Detections) -> None:
    there, back = compared(one, other), compared(other, one)
    assert there.disagreement == pytest.approx(back.disagreement)
    assert there.objects["missed"] == back.objects["extra"]
    assert 0 <= there.disagreement <= 1
    assert compared(one, one).disagreement == 0


@given(st.lists(boxes, min_size=1, max_size=8), st.integers(0, 100))
def test_after_nms_the_best_first_finds_as_many_partners_as_an_optimal_assignment(
    drawn: list[tuple[float, float, float, float]], seed: int
) -> None:
    """Both sides with overlaps under 0.3 among themselves, one a jittered copy of the other."""
    kept: list[tuple[float, float, float, float]] = []
    for box in drawn:
        if not kept or box_ious(np.array([box], np.float32), np.array(kept, np.float32)).max() < 0.3:
            kept.append(box)
    jitter = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(kept), 4))
    moved = [tuple(row) for row in (np.array(kept) + jitter).tolist()]
    stable, candidate = (answer(*((b, "cell", 0.9) for b in side)) for side in (kept, moved))
    ious = box_ious(stable.boxes_xyxy, candidate.boxes_xyxy)
    rows, columns = linear_sum_assignment(np.where(ious >= 0.5, ious, 0), maximize=True)
    assert len(compared(stable, candidate).matches) == int((ious[rows, columns] >= 0.5).sum())


def gains_of(stable: Detections, candidate: Detections) -> np.ndarray:
    ious = box_ious(stable.boxes_xyxy, candidate.boxes_xyxy)
    same = np.array(stable.labels)[:, None] == np.array(candidate.labels)[None, :]
    return np.where(ious >= 0.5, ious + same, 0.0)


crowds = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda b: (b[0], b[1], b[0] + 12, b[1] + 12)),
        st.sampled_from(["cell", "platelet"]),
        st.floats(0.5, 1),
    ),
    min_size=1,
    max_size=8,
).map(lambda objects: answer(*objects))


@given(crowds, crowds)
def test_in_a_crowd_partners_overlap_as_much_in_all_as_an_independent_solver_makes_them(
    stable: Detections, candidate: Detections
) -> None:
    """Where the best first would take a box that another one needs more."""
    gains = gains_of(stable, candidate)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    matches = compared(stable, candidate).matches
    assert sum(gains[match.stable, match.candidate] for match in matches) == pytest.approx(gains[rows, columns].sum())
    assert len({match.stable for match in matches}) == len({match.candidate for match in matches}) == len(matches)


def test_a_box_is_left_to_the_one_that_has_no_other() -> None:
    """The best first would pair the middle two, and miss one and add one."""
    stable = answer(((0, 0, 20, 20), "cell", 0.9), ((0, 5, 20, 25), "cell", 0.9))
    candidate = answer(((0, 4, 20, 24), "cell", 0.9), ((0, 10, 20, 30), "cell", 0.9))
    pairing = compared(stable, candidate)
    assert [(match.stable, match.candidate) for match in pairing.matches] == [(0, 0), (1, 1)]
    assert pairing.missed == pairing.extra == ()


masks = st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1)).map(
    lambda drawn: np.random.default_rng(drawn[0]).random((7, 9)) < drawn[1]
)


@given(st.lists(st.tuples(masks, masks), max_size=5))
def test_mask_overlaps_are_those_of_the_drawn_masks(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Run lengths as pycocotools writes them; each pair's own, whatever the others are."""
    expected = [(a & b).sum() / (a | b).sum() if (a | b).any() else 1.0 for a, b in pairs]
    found = mask_ious([rle(one) for one, _ in pairs], [rle(other) for _, other in pairs])
    assert found.tolist() == pytest.approx(expected)


def test_mask_overlaps_of_large_images_are_exact() -> None:
    """Numbers of several characters, of both signs."""
    one, other = np.zeros((2, 1080, 1920), bool)
    one[100:900, 200:1500] = other[300:1080, 900:1920] = one[:3, :700] = other[5:8, 1:2] = True
    expected = (one & other).sum() / (one | other).sum()
    assert mask_ious([rle(one), rle(other)], [rle(other), rle(other)]).tolist() == pytest.approx([expected, 1.0])


@pytest.mark.parametrize("counts", ["", "1", "Zzzz", "a0b0", "0" + "o" * 30, "o" * 40 + "0", "\x00", "P"])
def test_run_lengths_that_do_not_fill_the_image_are_refused(counts: str) -> None:
    """Alone, and among whole ones."""
    whole, broken = rle(np.ones(HW, bool)), RleMask(HW, counts)
    for ones in ([broken], [whole, broken], [broken, whole]):
        with pytest.raises(ValueError, match="fill"):
            mask_ious(ones, [whole] * len(ones))


def test_masks_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match="images of"):
        mask_ious([rle(np.ones(HW, bool))], [rle(np.ones((7, 9), bool))])


def test_an_object_seen_alone_is_forgiven_by_the_threshold_of_its_own_class() -> None:
    faint = answer(CELL, ((30, 10, 50, 30), "platelet", 0.35))
    assert pair(faint, answer(CELL), THRESHOLD).outcome == "agree"  # hardly above a threshold it was never held to
    assert pair(faint, answer(CELL), THRESHOLD, class_thresholds={"platelet": 0.2}).outcome == "missed"
    assert pair(faint, answer(CELL), THRESHOLD, class_thresholds={"platelet": 0.3}).outcome == "agree"


def test_every_object_is_told_once_with_its_class_and_size() -> None:
    pairing = compared(BOTH, answer(CELL, ((5, 30, 20, 39), "platelet", 0.9)))
    told = {(seen.label, seen.box_area_px, seen.outcome) for seen in pairing.seen}
    assert told == {("cell", 400, "agree"), ("cell", 400, "missed"), ("platelet", 135, "extra")}
    assert len(pairing.seen) == sum(pairing.objects.values())
