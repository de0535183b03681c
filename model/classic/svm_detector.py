"""What R-CNN and SPPnet share: features of regions -> fc7 -> one SVM a class, boxes moved by ridge regression."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.classic.box_coding import decode
from model.classic.box_ridge import NEAR_IOU, fit_box_regressor
from model.classic.detector import Found, best_of_each_class
from model.classic.feature_cache import FeatureCache
from model.classic.linear_svms import FEATURE_NORM, NEGATIVE_IOU, MinedSvm, Svm
from model.classic.matched_regions import MatchedRegions
from model.classic.region_layers import RegionLayers
from model.classic.trunks import Trunk

_LEAST_SCORE, _NMS_IOU, _MOST = -1.0, 0.3, 100  # beyond the SVM's margin nothing is worth ranking


class SvmDetector(nn.Module, ABC):
    """A trunk, the layers after it, SVMs (K, hidden) and regressors (K, 4, F); what `pooled` is makes the system."""

    svm_weight: Tensor
    svm_bias: Tensor
    box_weight: Tensor
    box_bias: Tensor

    def __init__(self, trunk: Trunk, pooled: int, hidden: int, class_count: int) -> None:
        super().__init__()
        self.trunk, self.layers = trunk, RegionLayers(pooled, hidden, class_count)
        self.register_buffer("svm_weight", torch.zeros(class_count, hidden))
        self.register_buffer("svm_bias", torch.zeros(class_count))
        self.register_buffer("box_weight", torch.zeros(class_count, 4, pooled))
        self.register_buffer("box_bias", torch.zeros(class_count, 4))

    @abstractmethod
    def pooled(self, image_rgb: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> Tensor:
        """Features (R, F) of regions (R, 4) of one image (H, W, 3), before the fully connected layers."""

    @property
    def device(self) -> torch.device:
        return self.svm_bias.device

    @torch.inference_mode()
    def detect(self, image_rgb: NDArray[np.uint8], proposals_xyxy: NDArray[np.float32] | None = None) -> Found:
        """See Detect. Raises ValueError without proposals: this system makes none."""
        if proposals_xyxy is None:
            raise ValueError(f"{type(self).__name__} needs proposals: it finds no regions itself")
        self.eval()
        regions = torch.from_numpy(proposals_xyxy).to(self.device)
        pooled = self.pooled(image_rgb, proposals_xyxy)
        scores = self.layers.features(pooled) @ self.svm_weight.T + self.svm_bias
        moves = torch.einsum("rf,kcf->rkc", pooled, self.box_weight) + self.box_bias
        boxes = decode(regions[:, None].expand(-1, moves.shape[1], -1), moves)
        return best_of_each_class(
            boxes, scores, image_rgb.shape[:2], least_score=_LEAST_SCORE, nms_iou=_NMS_IOU, most=_MOST
        )

    @torch.inference_mode()
    def fc7(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """(R, F) -> (R, hidden), dropout off."""
        self.eval()
        return self.layers.features(torch.from_numpy(np.array(pooled)).to(self.device)).cpu().numpy()


def fit_svms(detector: SvmDetector, cache: FeatureCache, regions: Sequence[MatchedRegions]) -> list[Svm]:
    """Train one SVM a class on cached features, an image at a time, and put them into detector."""
    features = [detector.fc7(cache.read(number)) for number in range(len(regions))]
    length = float(np.mean(np.concatenate([np.linalg.norm(rows, axis=1) for rows in features])))
    scale = np.float32(FEATURE_NORM / max(length, 1e-12))
    fitted = []
    for index in range(len(detector.svm_bias)):
        objects = [
            rows[: len(row.truth_labels)][row.truth_labels == index + 1] for rows, row in _pairs(features, regions)
        ]
        svm = MinedSvm(np.concatenate(objects) * scale)
        for rows, row in _pairs(features, regions):
            svm.show(rows[row.class_iou[:, index] < NEGATIVE_IOU] * scale)
        fitted.append(svm.finished())
        detector.svm_weight[index] = torch.from_numpy(fitted[-1].weight * scale)
        detector.svm_bias[index] = fitted[-1].bias
    return fitted


def _pairs(
    features: list[NDArray[np.float32]], regions: Sequence[MatchedRegions]
) -> list[tuple[NDArray[np.float32], MatchedRegions]]:
    return list(zip(features, regions, strict=True))


def fit_box_regressors(detector: SvmDetector, cache: FeatureCache, regions: Sequence[MatchedRegions]) -> None:
    """Train one regressor a class on cached features of regions near an object of it, and put them into detector."""
    for index in range(len(detector.box_bias)):
        pooled, near, truths = [], [], []
        for number, row in enumerate(regions):
            chosen = np.flatnonzero(row.class_iou[:, index] >= NEAR_IOU)
            pooled.append(np.array(cache.read(number)[chosen]))
            near.append(row.boxes_xyxy[chosen])
            truths.append(row.truths_xyxy[row.nearest[chosen, index]])
        weight, bias = fit_box_regressor(*(np.concatenate(rows) for rows in (pooled, near, truths)))
        detector.box_weight[index] = torch.from_numpy(weight)
        detector.box_bias[index] = torch.from_numpy(bias)
