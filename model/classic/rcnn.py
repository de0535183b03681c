"""
R-CNN (Girshick, Donahue, Darrell, Malik 2014, "Rich feature hierarchies ...", CVPR): a whole network for every region.

Stages: fine-tuning on warped regions by log loss; features of all regions to disk; SVMs; box regressors.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.classic.assignment import Assignment
from model.classic.descent import descend
from model.classic.detector import MEAN_RGB, normalised
from model.classic.feature_cache import FeatureCache
from model.classic.matched_regions import MatchedRegions, RegionSampler, match_regions
from model.classic.region_layers import HIDDEN
from model.classic.svm_detector import SvmDetector, fit_box_regressors, fit_svms
from model.classic.trunks import STRIDE_PX, Trunk
from model.classic.warp import CONTEXT_PX, SIDE_PX, warp

BACKGROUND_IOU = (0.0, 0.5)
_POOL5, _CHUNK = 6, 256


class Rcnn(SvmDetector):
    """Regions warped to side_px squares; the trunk's map pooled to 6x6 at most (AlexNet's pool5)."""

    def __init__(self, trunk: Trunk, class_count: int, *, side_px: int = SIDE_PX, hidden: int = HIDDEN) -> None:
        cells = min(_POOL5, -(-side_px // STRIDE_PX))
        super().__init__(trunk, trunk.out_channels * cells * cells, hidden, class_count)
        self._cells, self._side_px = cells, side_px
        self._context_px = round(CONTEXT_PX * side_px / SIDE_PX)

    def squares(self, image_rgb: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(R, side_px, side_px, 3): 16 pixels of context at 227, in proportion at other sides."""
        return warp(image_rgb, boxes_xyxy, MEAN_RGB, side_px=self._side_px, context_px=self._context_px)

    def pool5(self, squares: NDArray[np.uint8]) -> Tensor:
        """(R, side_px, side_px, 3) -> (R, F)."""
        feature = self.trunk(normalised(squares, self.device))["0"]
        return functional.adaptive_max_pool2d(feature, self._cells).flatten(1)

    def pooled(self, image_rgb: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> Tensor:
        """See SvmDetector; a chunk of regions at a time."""
        starts = range(0, max(len(boxes_xyxy), 1), _CHUNK)
        parts = [self.pool5(self.squares(image_rgb, boxes_xyxy[start : start + _CHUNK])) for start in starts]
        return torch.cat(parts)


def train_rcnn(detector: Rcnn, assignment: Assignment) -> int:
    """Take detector through all stages; the bytes its features take on disk."""
    detector.trunk.load_state_dict(assignment.pretrained)
    watch, samples = assignment.stopwatch, assignment.samples
    regions = [
        match_regions(sample, boxes, assignment.class_count)
        for sample, boxes in zip(samples, assignment.proposals_xyxy, strict=True)
    ]
    with watch.stage("fine-tuning"):
        fine_tune(detector, assignment, regions)
    cache = FeatureCache(assignment.folder / "pool5")
    with watch.stage("features to disk"), torch.inference_mode():
        detector.eval()
        for number, (sample, row) in enumerate(zip(samples, regions, strict=True)):
            cache.write(number, detector.pooled(sample.image, row.boxes_xyxy).cpu().numpy())
    with watch.stage("SVMs"):
        fit_svms(detector, cache, regions)
    with watch.stage("box regressors"):
        fit_box_regressors(detector, cache, regions)
    return cache.bytes_on_disk


def fine_tune(detector: Rcnn, assignment: Assignment, regions: list[MatchedRegions]) -> list[float]:
    """The whole network by log loss over K + 1 classes on 32 + 96 regions of all images; the losses by step."""
    sampler = RegionSampler(regions, BACKGROUND_IOU, assignment.seed)
    detector.train()

    def loss() -> Tensor:
        where, classes = sampler.batch()
        squares = np.concatenate(
            [detector.squares(assignment.samples[i].image, regions[i].boxes_xyxy[j : j + 1]) for i, j in where]
        )
        target = torch.from_numpy(classes).to(detector.device)
        return functional.cross_entropy(detector.layers(detector.pool5(squares)), target)

    return descend(detector.parameters(), loss, assignment.steps, assignment.learning_rate)
