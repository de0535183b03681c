"""
The values that cross modules: frozen, with axes and units written on the fields.

Shape shorthand in this package:  N images in a batch · H, W height and width · K candidates an image before NMS
D detections an image after NMS · R regions over all images of a batch
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

NmsMethod = Literal["hard", "soft_linear", "soft_gaussian"]
MaskFormat = Literal["none", "rle", "polygon", "png", "raw"]
Priority = Literal["normal", "high"]
Augmentation = Literal["flip", "scale"]
SOFT_NMS_SIGMA = 0.5  # Bodla 2017, section 3


@dataclass(frozen=True)
class DetectOptions:
    """What a caller may choose per request. None leaves the choice to the model's bundle."""

    score_threshold: float | None = None  # [0, 1]
    class_score_thresholds: Mapping[str, float] = field(default_factory=dict)  # by label, [0, 1]; beats score_threshold
    iou_threshold: float | None = None  # [0, 1]
    nms: NmsMethod = "hard"
    soft_nms_sigma: float | None = None  # > 0, read by soft_gaussian
    class_agnostic: bool = False
    max_detections: int | None = None  # >= 1
    classes: tuple[str, ...] = ()  # empty: all
    masks: MaskFormat = "none"
    tta: tuple[Augmentation, ...] = ()  # test-time augmentation; each once, in the order of Augmentation


@dataclass(frozen=True)
class LogitLine:
    """A score's log odds, straightened: logit(calibrated) = logit(score) / temperature + bias."""

    temperature: float  # > 0: order is kept
    bias: float


@dataclass(frozen=True)
class Calibration:
    """What makes a model's scores the share of detections that are right."""

    common: LogitLine
    by_label_id: Mapping[int, LogitLine] = field(default_factory=dict)  # beats common


@dataclass(frozen=True)
class NmsOptions:
    """DetectOptions with the model's defaults filled in and class names resolved."""

    score_threshold: float
    iou_threshold: float
    method: NmsMethod
    class_agnostic: bool
    max_detections: int
    label_ids: frozenset[int] | None  # None: all
    soft_nms_sigma: float = SOFT_NMS_SIGMA
    label_score_thresholds: Mapping[int, float] = field(default_factory=dict)  # by label id; beats score_threshold
    calibration: Calibration | None = None  # of the scores before they meet a threshold; None: as the model gives them


@dataclass(frozen=True)
class RleMask:
    """COCO compressed run lengths over the whole image, column by column."""

    size_hw: tuple[int, int]
    counts: str


@dataclass(frozen=True)
class PolygonMask:
    """
    Rings as flat [x1, y1, x2, y2, ...] lists through the centres of the border pixels, in image pixels.

    Outer rings run counter-clockwise on the screen and holes clockwise, so that both the even-odd and the non-zero rule
    fill the mask: nothing else tells a hole from a part.
    """

    rings_xy: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PngMask:
    """A 1-bit PNG of the mask's own rectangle, whose top-left corner is origin_xy in image pixels."""

    origin_xy: tuple[int, int]
    png: bytes


@dataclass(frozen=True)
class RawMask:
    """The mask head's own grid over the detection's box: probabilities in 1/255, above 127 inside."""

    size_hw: tuple[int, int]
    probabilities: bytes  # row by row


Mask = RleMask | PolygonMask | PngMask | RawMask


@dataclass(frozen=True)
class Keypoints:
    """The named points of every detection. score is the heatmap's value at its peak: a logit, as torchvision's."""

    points_xys: NDArray[np.float32]  # (D, J, 3): x, y in image pixels, score
    names: tuple[str, ...]  # (J,)
    skeleton: tuple[tuple[int, int], ...]  # pairs of points joined by a limb, counted from 0


@dataclass(frozen=True)
class Detections:
    """Everything found in one image, in the pixels of the image as a person sees it, best score first."""

    image_hw: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]  # (D, 4)
    scores: NDArray[np.float32]  # (D,) in [0, 1]
    label_ids: NDArray[np.int64]  # (D,) 1 is the first class
    labels: tuple[str, ...]  # (D,)
    masks: tuple[Mask, ...] | None = None  # (D,), None when not asked for or not a segmentation model
    keypoints: Keypoints | None = None  # None when not a keypoints model

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Timings:
    """
    Seconds spent by one request in each stage, and in all; batch_size is the company it ran in.

    starts_s says when each stage began, on the clock of time.perf_counter().
    """

    stages_s: Mapping[str, float]
    total_s: float
    batch_size: int = 1  # 0 where no batch ran for it
    from_cache: bool | None = None  # None where no answers are kept
    canvas_hw: tuple[int, int] | None = None  # None where no batch ran for it
    starts_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelId:
    """Which model answered: digest is the sha256 of the bundle's manifest."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True)
class Answer:
    """What one request gets: read by the doors, metrics and whatever watches the answers."""

    model: ModelId
    detections: Detections
    timings: Timings
