"""
A model's scores -> calibrated ones: logistic calibration over the score alone (Platt 1999; for detectors, Küppers et
al. 2020, Multivariate Confidence Calibration for Object Detection). Without the bias it is temperature scaling
(Guo et al. 2017).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.detections import Calibration, LogitLine

_LEAST = 1e-7  # scores are float32: nearer to 0 or 1 than that they say no more


def calibrated(
    scores: NDArray[np.float32], label_ids: NDArray[np.int64], calibration: Calibration
) -> NDArray[np.float32]:
    """
    scores (K,) in [0, 1] of label_ids (K,), each by its class's own line -> (K,) in [0, 1].

    Order within a class is kept, but that what differs by less than float32 holds may become equal. 0 is padding and
    stays 0.
    """
    result = on_line(scores, calibration.common)
    for label_id, line in calibration.by_label_id.items():
        own = label_ids == label_id
        result[own] = on_line(scores[own], line)
    return np.where(scores > 0, result, 0).astype(np.float32)


def on_line(scores: ArrayLike, line: LogitLine) -> NDArray[np.float64]:
    """scores in [0, 1], any shape -> calibrated by one line."""
    odds = logit(scores) / line.temperature + line.bias
    return np.asarray(1 / (1 + np.exp(-odds)))


def logit(scores: ArrayLike) -> NDArray[np.float64]:
    """Log odds of scores in [0, 1], those of 0 and 1 bounded."""
    bounded = np.clip(np.asarray(scores, np.float64), _LEAST, 1 - _LEAST)
    return np.asarray(np.log(bounded) - np.log1p(-bounded))
