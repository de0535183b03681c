"""The words of the REST interface: options in, answers out. The OpenAPI document is made of them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.options import Options, VersionedOptions
from service.bundle import MOST_PROPOSALS, Task

AnswerFormat = Literal["rcnn", "coco", "inference"]


class RestOptions(Options):
    """Options of a detection, and the form of its answer."""

    format: AnswerFormat = Field(
        "rcnn",
        description="rcnn: as described here. coco: rows of a COCO results file. inference: what "
        "supervision.Detections.from_inference takes. The last two carry masks as rle or none.",
        examples=["rcnn"],
    )
    image_id: int = Field(
        1, ge=0, le=2**53, description="Of the first image in COCO rows; those of further images count up."
    )


class QueryOptions(RestOptions, VersionedOptions):
    """The same as query parameters; `version` picks one version of the model."""


Pixels = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
ProposedBox = tuple[Pixels, Pixels, Pixels, Pixels]


class EncodedImage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    b64: str = Field(description="The image file, base64.")
    proposals: list[ProposedBox] = Field(
        [],
        max_length=MOST_PROPOSALS,
        description="For a Fast R-CNN: the only regions it then looks at, [x1, y1, x2, y2] in pixels of the image. "
        "Left out or empty, it looks at windows over the whole image.",
    )


class JsonBody(RestOptions):
    """A JSON request: one or more images, and options for all of them."""

    images: list[EncodedImage] = Field(min_length=1)


class ModelRef(BaseModel):
    name: str
    version: str
    digest: str


class ImageSize(BaseModel):
    width: int
    height: int


class RleOut(BaseModel):
    """COCO compressed run lengths over the whole image, size [height, width]."""

    size: tuple[int, int]
    counts: str


class PolygonOut(BaseModel):
    """
    Rings [x1, y1, x2, y2, ...] through the centres of border pixels. Outer rings run counter-clockwise on the screen,
    holes clockwise: filling by the even-odd rule gives the mask.
    """

    polygons: list[list[float]]


class PngOut(BaseModel):
    """A black and white PNG, base64, of the mask's own rectangle, whose top-left pixel is origin [x, y]."""

    origin: tuple[int, int]
    png: str


class RawOut(BaseModel):
    """The mask head's own grid over the box, size [height, width]: a byte a cell, base64, above 127 inside."""

    size: tuple[int, int]
    raw: str


class DetectionOut(BaseModel):
    """One object. box is [x1, y1, x2, y2] in pixels of the image as a person sees it."""

    label: str
    label_id: int
    score: float
    box: tuple[float, float, float, float]
    mask: RleOut | PolygonOut | PngOut | RawOut | None = None
    keypoints: list[tuple[float, float, float]] | None = Field(
        None, description="[x, y, score] of each point a keypoints model names, in its order; score is a logit."
    )


class AnswerOut(BaseModel):
    """format=rcnn, one image."""

    model: ModelRef
    image: ImageSize
    detections: list[DetectionOut]
    timings_ms: dict[str, float]
    request_id: str


class AnswersOut(BaseModel):
    """format=rcnn: the answers to a multipart or JSON request, in the order of its images."""

    results: list[AnswerOut]


class CocoRow(BaseModel):
    """format=coco: one object in one image, bbox [x, y, width, height]."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float
    segmentation: RleOut | None = None
    keypoints: list[float] | None = Field(None, description="x, y, 1 of each point.")


class PredictionOut(BaseModel):
    """One object of format=inference: x and y are the centre of its box."""

    x: float
    y: float
    width: float
    height: float
    confidence: float
    label: str = Field(alias="class")
    class_id: int
    rle: RleOut | None = None


class InferenceOut(BaseModel):
    """format=inference, one image; a list of them for a multipart or JSON request."""

    image: ImageSize
    predictions: list[PredictionOut]
    time: float


class SkeletonOut(BaseModel):
    """The points a keypoints model finds on every object; limbs are pairs of them, counted from 0."""

    names: list[str]
    limbs: list[tuple[int, int]]


class ModelOut(BaseModel):
    """A served model."""

    name: str
    version: str
    digest: str
    task: Task
    architecture: str
    labels: list[str]
    state: str
    default: bool
    engine: str
    precision: str
    ap_lost: float | None = Field(description="AP in [0, 1] this precision loses against fp32, where measured.")
    postprocess: dict[str, float | dict[str, float]] = Field(
        description="What a request gets that does not say otherwise; class_score_thresholds if classes have their own."
    )
    calibrated: bool = Field(description="Whether scores are calibrated: the share of such detections that are right.")
    canvas_grid: list[tuple[int, int]]
    examples: list[str]
    keypoints: SkeletonOut | None = None


class ModelsOut(BaseModel):
    models: list[ModelOut]


class StateOut(BaseModel):
    """alive, starting, ready or draining."""

    status: str


class Violation(BaseModel):
    """One option or member that is wrong."""

    field: str
    detail: str


class ProblemOut(BaseModel):
    """RFC 9457 problem document. Clients may switch on code; detail says what was expected."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Violation] | None = None
