"""The points a keypoints model finds, and the limbs between them."""

from typing import Any

from torchvision.models.detection import FasterRCNN, KeypointRCNN_ResNet50_FPN_Weights

# COCO's person skeleton (cocodataset.org, person_keypoints annotations), counted from 0.
_COCO_LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip


def skeleton(model: FasterRCNN) -> dict[str, Any]:
    """The manifest's `keypoints`: COCO's names and limbs for 17 points, numbers and no limbs for any other count."""
    count = int(model.roi_heads.keypoint_predictor.kps_score_lowres.out_channels)
    coco = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.meta["keypoint_names"]
    if count == len(coco):
        return {"names": list(coco), "limbs": [list(limb) for limb in _COCO_LIMBS]}
    return {"names": [f"point-{number}" for number in range(1, count + 1)], "limbs": []}
