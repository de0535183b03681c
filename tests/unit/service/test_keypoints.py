"""Points are placed where torchvision places them, and drawn only when they are sure."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

from service.bundle import Skeleton
from service.detections import Detections, Keypoints
from service.postprocess.keypoints import locate
from service.postprocess.overlay import draw


def test_points_are_where_torchvision_puts_them() -> None:
    """Boxes of many shapes, one thinner than a pixel, one at the canvas edge; the peak's height too."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (12, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 300, (12, 2))], 1).astype(np.float32)
    boxes[0] = [10, 10, 10.4, 90.5]
    heatmaps = rng.normal(0, 3, (12, 17, 56, 56)).astype(np.float32)
    expected_xy, expected_score = heatmaps_to_keypoints(torch.from_numpy(heatmaps), torch.from_numpy(boxes))
    points = locate(heatmaps, boxes, 17)
    np.testing.assert_allclose(points[..., :2], expected_xy[..., :2].numpy(), atol=1e-3)
    np.testing.assert_allclose(points[..., 2], expected_score.numpy(), atol=1e-3)


def test_no_detections_have_no_points() -> None:
    """The shape still tells how many points there would be."""
    assert locate(np.zeros((0, 1, 1), np.float32), np.zeros((0, 4), np.float32), 17).shape == (0, 17, 3)


@pytest.mark.parametrize(("score", "drawn"), [(5.0, True), (-5.0, False)])
def test_only_sure_points_and_limbs_are_drawn(score: float, drawn: bool) -> None:
    """Halfway along the limb the picture changes, or stays black."""
    points = Keypoints(np.array([[[20, 20, score], [60, 60, score]]], np.float32), ("a", "b"), ((0, 1),))
    box = np.array([[0, 0, 79, 79]], np.float32)
    found = Detections((80, 80), box, np.array([0.9], np.float32), np.array([1]), ("thing",), keypoints=points)
    assert draw(np.zeros((80, 80, 3), np.uint8), found)[40, 40].any() == drawn


def test_limbs_join_points_there_are() -> None:
    """A skeleton that names a point too many is refused."""
    with pytest.raises(ValueError, match="expected pairs of 0 to 1"):
        Skeleton(names=("a", "b"), limbs=((0, 2),))
