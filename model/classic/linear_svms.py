"""
One linear SVM a class, negatives mined while walking once over the images (R-CNN, section 2.3 and its published code).

Positives are the objects themselves; negatives have an IoU below 0.3 with every object of the class; the rest is left
out. Of each image those negatives are kept that score above the margin -1; after every 2000 new ones the SVM is fitted
again and what has become easy (below -1.2) is dropped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

NEGATIVE_IOU = 0.3
FEATURE_NORM = 20.0  # features are scaled so that their mean length is this; C is tuned for it
_C, _POSITIVE_WEIGHT, _BIAS_SCALE = 1e-3, 2.0, 10.0
_HARD_SCORE, _EASY_SCORE, _FIT_AFTER, _MOST_ITERATIONS = -1.0, -1.2, 2000, 200_000

Features = NDArray[np.float32]  # (rows, F)


@dataclass(frozen=True)
class Svm:
    """score = features @ weight + bias; a class without objects never scores."""

    weight: NDArray[np.float32]  # (F,)
    bias: float
    negatives_seen: int
    negatives_kept: int
    fits: int


class MinedSvm:
    """The SVM of one class as it grows; positives (P, F) stay, hard negatives come image by image."""

    def __init__(self, positives: Features, *, fit_after: int = _FIT_AFTER) -> None:
        self._positives, self._fit_after = positives, fit_after
        self._negatives = positives[:0]
        self._fitted: LinearSVC | None = None
        self._waiting = self._seen = self._fits = 0

    def show(self, negatives: Features) -> None:
        """Keep the hard ones among negatives (N, F) of one image: all of them while nothing is fitted yet."""
        if not len(self._positives):
            return
        self._seen += len(negatives)
        hard = negatives if self._fitted is None else negatives[self._scores(negatives) > _HARD_SCORE]
        self._negatives = np.concatenate([self._negatives, hard])
        self._waiting += len(hard)
        if self._waiting >= self._fit_after:
            self._fit()

    def finished(self) -> Svm:
        """Fitted to everything kept. Without a positive, or without a negative, it never scores."""
        if not len(self._positives) or not len(self._negatives):
            return Svm(np.zeros(self._positives.shape[1], np.float32), -np.inf, self._seen, 0, self._fits)
        if self._waiting or self._fitted is None:
            self._fit()
        assert self._fitted is not None
        weight, bias = self._fitted.coef_[0].astype(np.float32), float(self._fitted.intercept_[0])
        return Svm(weight, bias, self._seen, len(self._negatives), self._fits)

    def _fit(self) -> None:
        self._fitted = fit_svm(self._positives, self._negatives)
        self._negatives = self._negatives[self._scores(self._negatives) >= _EASY_SCORE]
        self._waiting, self._fits = 0, self._fits + 1

    def _scores(self, features: Features) -> NDArray[np.float64]:
        assert self._fitted is not None
        return np.asarray(self._fitted.decision_function(features)) if len(features) else np.zeros(0)


def fit_svm(positives: Features, negatives: Features) -> LinearSVC:
    """liblinear's hinge loss, C = 0.001, positives counted twice, the bias feature 10, as R-CNN's code sets them."""
    svm = LinearSVC(
        loss="hinge",
        C=_C,
        class_weight={1: _POSITIVE_WEIGHT},
        intercept_scaling=_BIAS_SCALE,
        max_iter=_MOST_ITERATIONS,
        random_state=0,
    )
    return svm.fit(np.concatenate([positives, negatives]), np.repeat([1, -1], [len(positives), len(negatives)]))
