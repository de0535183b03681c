"""Class-specific box regression by ridge regression with lambda 1000 (R-CNN, appendix C)."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from model.classic.box_coding import encode

LAMBDA = 1000.0
NEAR_IOU = 0.6  # a region further from its object says nothing of where that is


def fit_box_regressor(
    pooled: NDArray[np.float32], regions_xyxy: NDArray[np.float32], truths_xyxy: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Pooled features (R, F) of regions (R, 4) and the object (R, 4) of each -> weights (4, F) and intercepts (4,).

    Targets are those of box_coding, undivided; the intercept is not shrunk. Without regions both are 0: boxes stay.
    """
    if not len(pooled):
        return np.zeros((4, pooled.shape[1]), np.float32), np.zeros(4, np.float32)
    targets = encode(torch.from_numpy(regions_xyxy), torch.from_numpy(truths_xyxy)).numpy()
    ridge = Ridge(alpha=LAMBDA).fit(pooled, targets)
    return ridge.coef_.astype(np.float32), ridge.intercept_.astype(np.float32)
