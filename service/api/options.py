"""The options of a detection as every door takes them: their names, types and ranges. Knows no protocol."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.detections import SOFT_NMS_SIGMA, Augmentation, DetectOptions, MaskFormat, NmsMethod
from service.errors import InvalidOption, InvalidRequest

_MOST_SHOWN = 3  # problems named in one error
_SHOWN_CHARACTERS = 60  # of a value that is refused

Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _by_label(value: Any) -> Any:
    """`thing:0.4`, `thing:0.4,other:0.2` or a list of them, for doors without mappings; anything else as it is."""
    if not isinstance(value, str | list):
        return value
    parts = value.split(",") if isinstance(value, str) else [part for text in value for part in str(text).split(",")]
    pairs = [part.rpartition(":") for part in parts if part]
    if any(not label for label, _, _ in pairs):
        raise ValueError("expected label:score")
    return {label: score for label, _, score in pairs}


def _listed(value: Any) -> Any:
    """`a,b` for doors without lists."""
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


def _named(value: Any) -> Any:
    """`a,b`, a list, or a list of such texts: for names without commas."""
    texts = value if isinstance(value, list) else [value]
    return [part for text in texts for part in _listed(text)] if all(isinstance(t, str) for t in texts) else value


class Options(BaseModel):
    """Options of a detection. Anything left out is the model's own default."""

    model_config = ConfigDict(extra="forbid")

    score_threshold: Ratio | None = Field(None, description="Least score reported.", examples=[0.5])
    class_score_thresholds: Annotated[dict[str, Ratio], BeforeValidator(_by_label)] = Field(
        {}, description="Least scores of single labels; they beat score_threshold."
    )
    iou_threshold: Ratio | None = Field(
        None, description="Overlap above which NMS treats two boxes as one object.", examples=[0.5]
    )
    nms: NmsMethod = Field(
        "hard",
        description="hard removes overlapping boxes; soft_linear and soft_gaussian lower their scores (Soft-NMS).",
        examples=["hard"],
    )
    soft_nms_sigma: float | None = Field(
        None,
        gt=0,
        le=10,
        allow_inf_nan=False,
        description=f"How fast soft_gaussian forgives overlap; {SOFT_NMS_SIGMA} if left out.",
        examples=[0.5],
    )
    class_agnostic: bool = Field(False, description="Let NMS work across classes.", examples=[False])
    max_detections: int | None = Field(
        None, ge=1, le=10_000, description="Most objects reported, best first.", examples=[100]
    )
    classes: Annotated[list[str], BeforeValidator(_listed)] = Field([], description="Only these labels; all if empty.")
    masks: MaskFormat = Field("none", description="How masks are sent, for models that have them.", examples=["rle"])
    tta: Annotated[list[Augmentation], BeforeValidator(_named)] = Field(
        [],
        description="Test-time augmentation: flip looks at the mirror image too, scale at 0.8 and 1.25 times the size, "
        "both at six views; what they show is fused. Each view costs as much as an image.",
    )

    @classmethod
    def parse(cls, sent: Mapping[str, object]) -> Self:
        """Raises InvalidOption naming each option that is unknown or out of range, and what was expected."""
        try:
            return cls.model_validate(sent)
        except ValidationError as error:
            raise option_error(error.errors(include_url=False), tuple(cls.model_fields)) from error

    def to_values(self) -> DetectOptions:
        return DetectOptions(
            score_threshold=self.score_threshold,
            class_score_thresholds=self.class_score_thresholds,
            iou_threshold=self.iou_threshold,
            nms=self.nms,
            soft_nms_sigma=self.soft_nms_sigma,
            class_agnostic=self.class_agnostic,
            max_detections=self.max_detections,
            classes=tuple(self.classes),
            masks=self.masks,
            tta=tuple(name for name in get_args(Augmentation) if name in self.tta),
        )

    def to_query(self) -> dict[str, Any]:
        """The options that were set, as query parameters."""
        sent = self.model_dump(exclude_unset=True)
        by_label = sent.pop("class_score_thresholds", {})
        pairs = [f"{label}:{score}" for label, score in by_label.items()]
        return sent | ({"class_score_thresholds": pairs} if pairs else {})


class VersionedOptions(Options):
    """With the version of the model they are meant for."""

    version: str | None = Field(None, description="Model version; the one served by default if left out.")


def option_error(problems: Sequence[Any], known: Sequence[str] = ()) -> InvalidOption | InvalidRequest:
    """One sentence for the first few things pydantic found wrong; InvalidRequest where they are about the images."""
    violations = tuple((_where(row["loc"]), _what(row, known)) for row in problems[:_MOST_SHOWN])
    about_images = all("images" in row["loc"] or row["type"] == "json_invalid" for row in problems)
    error = (InvalidRequest if about_images else InvalidOption)(
        "; ".join(f"{where}: {what}" for where, what in violations) + "."
    )
    error.violations = violations
    return error


def _where(location: Sequence[object]) -> str:
    return ".".join(str(part) for part in location) or "body"


def _what(problem: Mapping[str, Any], known: Sequence[str]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"no such option; there are {', '.join(known)}" if known else "no such option"
    if problem["type"] in ("json_invalid", "missing") or "images" in problem["loc"]:
        return str(problem["msg"])
    return f"{problem['msg']}, got {str(problem['input'])[:_SHOWN_CHARACTERS]}"
