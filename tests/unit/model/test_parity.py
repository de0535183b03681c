"""The comparison that proves an export has to be able to fail."""

import numpy as np
import pytest

from model.parity import match
from service.postprocess.boxes import Picked

BOXES = np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32)


def picked(
    boxes: np.ndarray = BOXES, scores: tuple[float, ...] = (0.9, 0.4), labels: tuple[int, ...] = (1, 2)
) -> Picked:
    return Picked(boxes, np.array(scores, np.float32), np.array(labels))


@pytest.mark.parametrize(
    ("offered", "unmatched"),
    [
        pytest.param(picked(), 0, id="equal"),
        pytest.param(picked(BOXES + 0.4), 0, id="within half a pixel"),
        pytest.param(picked(BOXES + 0.6), 2, id="more than half a pixel"),
        pytest.param(picked(scores=(0.9, 0.402)), 1, id="another score"),
        pytest.param(picked(labels=(1, 1)), 1, id="another label"),
        pytest.param(picked(BOXES[[0, 0]], (0.9, 0.9), (1, 1)), 1, id="one twice, the other missing"),
        pytest.param(picked(BOXES[:0], (), ()), 2, id="empty"),
    ],
)
def test_a_detection_without_its_equal_is_counted(offered: Picked, unmatched: int) -> None:
    """Label, box and score all have to agree, and each detection serves once."""
    assert len(match(picked(), offered).lone) == unmatched
