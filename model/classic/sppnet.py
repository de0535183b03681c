"""
SPPnet (He, Zhang, Ren, Sun 2014/2015, "Spatial Pyramid Pooling ...", section 4): the convolutions once an image.

Stages: pyramid features of all regions to disk; fine-tuning of the layers after them alone, the trunk stays as it was
pretrained; SVMs; box regressors. One scale, as the paper's faster variant.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.classic.assignment import Assignment
from model.classic.descent import descend
from model.classic.detector import normalised
from model.classic.feature_cache import FeatureCache
from model.classic.matched_regions import MatchedRegions, RegionSampler, match_regions
from model.classic.pyramid_pool import BINS, pyramid_pool
from model.classic.region_layers import HIDDEN
from model.classic.svm_detector import SvmDetector, fit_box_regressors, fit_svms
from model.classic.trunks import STRIDE_PX, Trunk

BACKGROUND_IOU = (0.1, 0.5)


class SppNet(SvmDetector):
    """One map an image; each region of it pooled to 50 bins."""

    def __init__(self, trunk: Trunk, class_count: int, *, hidden: int = HIDDEN) -> None:
        super().__init__(trunk, trunk.out_channels * BINS, hidden, class_count)

    def pooled(self, image_rgb: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> Tensor:
        """See SvmDetector."""
        feature = self.trunk(normalised(image_rgb[None], self.device))["0"]
        return pyramid_pool(feature, torch.from_numpy(boxes_xyxy).to(self.device), STRIDE_PX)


def train_sppnet(detector: SppNet, assignment: Assignment) -> int:
    """Take detector through all stages; the bytes its features take on disk."""
    detector.trunk.load_state_dict(assignment.pretrained)
    watch, samples = assignment.stopwatch, assignment.samples
    regions = [
        match_regions(sample, boxes, assignment.class_count)
        for sample, boxes in zip(samples, assignment.proposals_xyxy, strict=True)
    ]
    cache = FeatureCache(assignment.folder / "spp")
    with watch.stage("features to disk"), torch.inference_mode():
        detector.eval()
        for number, (sample, row) in enumerate(zip(samples, regions, strict=True)):
            cache.write(number, detector.pooled(sample.image, row.boxes_xyxy).cpu().numpy())
    with watch.stage("fine-tuning"):
        fine_tune(detector, assignment, regions, cache)
    with watch.stage("SVMs"):
        fit_svms(detector, cache, regions)
    with watch.stage("box regressors"):
        fit_box_regressors(detector, cache, regions)
    return cache.bytes_on_disk


def fine_tune(
    detector: SppNet, assignment: Assignment, regions: list[MatchedRegions], cache: FeatureCache
) -> list[float]:
    """fc6, fc7 and scores by log loss on 32 + 96 regions of all images, from the cache; the losses by step."""
    sampler = RegionSampler(regions, BACKGROUND_IOU, assignment.seed)
    detector.layers.train()

    def loss() -> Tensor:
        where, classes = sampler.batch()
        rows = np.stack([cache.read(int(image))[region] for image, region in where])
        target = torch.from_numpy(classes).to(detector.device)
        return functional.cross_entropy(detector.layers(torch.from_numpy(rows).to(detector.device)), target)

    return descend(detector.layers.parameters(), loss, assignment.steps, assignment.learning_rate)
