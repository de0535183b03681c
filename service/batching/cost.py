"""
What a batch will cost: seconds = fixed + per_image x images + per_mask x images wanting masks, for each canvas.

Learned online from the batches that ran, by recursive least squares with forgetting (Haykin, Adaptive Filter Theory,
chapter "The RLS algorithm"), with three guards: a batch far from its prediction is believed only in part (Huber's rule;
several in a row are a change), the first run of a size counts for little once others are known (engines lay out memory
for each shape), and what has not been seen for long is kept rather than forgotten (the covariance is capped). A canvas
never seen borrows from the one nearest in pixels, its cost per image scaled by their ratio: seconds per padded
megapixel.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

_FORGETTING = 0.98  # weight of each batch against the next: about the last 50 count
_FIRST_UNCERTAINTY = 10.0
_MOST_UNCERTAINTY = 20.0  # variance of the weights of batch and image beyond which nothing is forgotten
_FIRST_RUN = 20.0  # variance of the first run of a size against that of later ones
_OUTLIER = 4.0  # typical errors beyond which a batch is an outlier
_OUTLIER_SHARE = 0.25  # and at least this share of its prediction: clocks are not exact
_TRUSTED_AFTER = 6  # batches before anything can be an outlier
_CHANGE = 5  # outliers in a row are a change: learn afresh
_LEAST_S = 1e-6
_GOOD = 0.97  # of the best rate is good enough for a smaller batch: it answers sooner


@dataclass(frozen=True)
class Size:
    """What the cost of a batch depends on. pixels: padded, of one image."""

    canvas: Hashable
    pixels: int
    images: int
    masked: int = 0


@dataclass
class _Fit:
    """One canvas. weights_s: seconds per batch, image and masked image."""

    pixels: int
    weights_s: list[float]
    covariance: list[list[float]] = field(default_factory=lambda: _diagonal(_FIRST_UNCERTAINTY))
    typical_error_s: float = 0.0
    seen: int = 0
    outliers: int = 0  # in a row
    sizes: set[int] = field(default_factory=set)  # that have run, in images

    def predict_s(self, images: int, masked: int) -> float:
        fixed, per_image, per_mask = self.weights_s
        return max(fixed + max(per_image, 0.0) * images + max(per_mask, 0.0) * masked, _LEAST_S)

    def learn(self, images: int, masked: int, seconds: float) -> None:
        features = (1.0, float(images), float(masked))
        error_s = seconds - sum(w * x for w, x in zip(self.weights_s, features, strict=True))
        believed_s = self._believe(error_s, seconds)
        spread = [sum(p * x for p, x in zip(row, features, strict=True)) for row in self.covariance]
        doubt = _FORGETTING if images in self.sizes else _FORGETTING * _FIRST_RUN
        scale = doubt + sum(s * x for s, x in zip(spread, features, strict=True))
        self.weights_s = [w + s / scale * believed_s for w, s in zip(self.weights_s, spread, strict=True)]
        shrunk = [[self.covariance[i][j] - spread[i] * spread[j] / scale for j in range(3)] for i in range(3)]
        # Of masks nothing is forgotten while none are asked for, or their variance would keep the rest from being.
        older = _FORGETTING**-0.5 if shrunk[0][0] + shrunk[1][1] < _MOST_UNCERTAINTY else 1.0
        grow = (older, older, older if masked else 1.0)
        self.covariance = [[shrunk[i][j] * grow[i] * grow[j] for j in range(3)] for i in range(3)]
        self.sizes.add(images)
        self.seen += 1

    def _believe(self, error_s: float, seconds: float) -> float:
        """The part of error_s to learn from."""
        limit_s = max(_OUTLIER * self.typical_error_s, _OUTLIER_SHARE * abs(seconds - error_s))
        if self.seen < _TRUSTED_AFTER:
            limit_s = abs(error_s)
        self.outliers = self.outliers + 1 if abs(error_s) > limit_s else 0
        if self.outliers >= _CHANGE:
            self.outliers, self.seen, self.covariance = 0, 0, _diagonal(_FIRST_UNCERTAINTY)
        believed_s = max(-limit_s, min(limit_s, error_s))
        self.typical_error_s += 0.1 * (abs(believed_s) - self.typical_error_s)
        return believed_s


class CostModel:
    """Seconds of engine work by batch, for each canvas. Predicts 0 until the first batch has run."""

    def __init__(self) -> None:
        self._fits: dict[Hashable, _Fit] = {}
        self.batch_s = 0.0  # a running mean, whatever the canvas
        self.image_s = 0.0  # the same, an image's share of its batch

    @property
    def known(self) -> bool:
        return bool(self._fits)

    def learn(self, size: Size, seconds: float) -> None:
        """Take in that a batch of size took seconds."""
        weight = 0.1 if self.known else 1.0
        self.batch_s += weight * (seconds - self.batch_s)
        self.image_s += weight * (seconds / size.images - self.image_s)
        # The very first batch is put down to being a batch, and little to its images: batching is worth a try.
        first = _Fit(size.pixels, [0.9 * seconds, 0.1 * seconds / size.images, 0.0])
        fit = self._fits.setdefault(size.canvas, self._fit(size) or first)
        fit.learn(size.images, size.masked, seconds)

    def predict_s(self, size: Size) -> float:
        """Seconds a batch of size will take."""
        fit = self._fit(size)
        return fit.predict_s(size.images, size.masked) if fit else 0.0

    def good_images(self, largest: Size) -> int:
        """
        The fewest images that come within 3 % of the rate (images a second) of the best batch up to largest.

        The rate n / (fixed + each n) only grows with n where there is something fixed to share; elsewhere 1 is best.
        """
        fit = self._fit(largest)
        if fit is None:
            return largest.images
        fixed, per_image, per_mask = fit.weights_s
        each = max(per_image, 0.0) + max(per_mask, 0.0) * largest.masked / largest.images
        if fixed <= 0:
            return 1
        good = _GOOD * largest.images * fixed / (fixed + (1 - _GOOD) * each * largest.images)
        return max(1, math.ceil(good - 1e-9))

    def _fit(self, size: Size) -> _Fit | None:
        """What is known of size's canvas, or borrowed from the nearest; None before the first batch."""
        own = self._fits.get(size.canvas)
        if own is not None or not self._fits:
            return own
        pixels = size.pixels
        nearest = min(self._fits.values(), key=lambda fit: max(fit.pixels, pixels) / max(min(fit.pixels, pixels), 1))
        return _borrowed(nearest, pixels)


def _borrowed(fit: _Fit, pixels: int) -> _Fit:
    fixed, per_image, per_mask = fit.weights_s
    return _Fit(pixels, [fixed, per_image * pixels / max(fit.pixels, 1), per_mask])


def _diagonal(value: float) -> list[list[float]]:
    return [[value if i == j else 0.0 for j in range(3)] for i in range(3)]
