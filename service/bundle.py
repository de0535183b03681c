"""
A model on disk: `<name>/<version>/manifest.json` and the files it lists with their sha256.

Nothing is served that the manifest does not list, and nothing listed is read before its checksum holds.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.detections import Calibration, LogitLine, ModelId
from service.errors import BundleInvalid
from service.signature import FILE as SIGNATURE_FILE
from service.signature import TrustedSigners

SCHEMA_VERSION = 1
_MOST_MANIFEST_BYTES = 10_000_000
MOST_PROPOSALS = 10_000  # of an image, whatever a bundle says
Task = Literal["detection", "segmentation", "keypoints"]
Ratio = Annotated[float, Field(ge=0, le=1)]
GRAPHS: dict[Task, tuple[str, ...]] = {
    "detection": ("detector.onnx",),
    "segmentation": ("detector.onnx", "mask_head.onnx"),
    "keypoints": ("detector.onnx", "keypoint_head.onnx"),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preprocess(_Part):
    """How an image becomes a canvas. The same image always gets the same canvas, whatever its company."""

    resize: Literal["fit", "bound"] = "fit"
    """fit: torchvision's rule, the shorter side becomes min_size unless the longer side would pass max_size.
    bound: native size, enlarged only below min_size and shrunk only above max_size."""
    min_size: int = Field(gt=0)
    max_size: int = Field(gt=0)
    canvas_grid: tuple[tuple[int, int], ...] = Field(min_length=1)
    """The canvas shapes (height, width) in use; an image goes onto the smallest that holds it."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @model_validator(mode="after")
    def _largest_canvas_holds_everything(self) -> "Preprocess":
        # By `fit` the shorter side never passes min_size.
        short_px = min(self.min_size, self.max_size) if self.resize == "fit" else self.max_size
        for height, width in {(short_px, self.max_size), (self.max_size, short_px)}:
            if not any(canvas[0] >= height and canvas[1] >= width for canvas in self.canvas_grid):
                raise ValueError(f"canvas_grid needs a canvas of at least {height} x {width}")
        return self


class Postprocess(_Part):
    """What a request gets that does not say otherwise."""

    score_threshold: Ratio
    iou_threshold: Ratio
    max_detections: int = Field(ge=1)
    class_score_thresholds: dict[str, Ratio] = {}
    """Of single labels; they beat score_threshold, unless a request brings a score_threshold of its own."""

    def least_score(self, label: str) -> float:
        """What a detection of that label must score to be reported by default."""
        return self.class_score_thresholds.get(label, self.score_threshold)


class CalibrationLine(_Part):
    """LogitLine, as written."""

    temperature: float = Field(gt=0, allow_inf_nan=False)
    bias: float = Field(allow_inf_nan=False)

    def value(self) -> LogitLine:
        return LogitLine(self.temperature, self.bias)


class ScoreCalibration(_Part):
    """How the model's scores become the share of detections that are right; applied before any threshold."""

    common: CalibrationLine
    by_class: dict[str, CalibrationLine] = {}


class Skeleton(_Part):
    """The points a keypoints model finds on every object, and which of them are joined when they are drawn."""

    names: tuple[str, ...] = Field(min_length=1)
    limbs: tuple[tuple[int, int], ...] = ()

    @model_validator(mode="after")
    def _limbs_join_points_there_are(self) -> "Skeleton":
        if any(not 0 <= end < len(self.names) for limb in self.limbs for end in limb):
            raise ValueError(f"limbs: expected pairs of 0 to {len(self.names) - 1}")
        return self


class Proposals(_Part):
    """A model that looks at given regions: how many, and the windows it is given where a request names none."""

    most: int = Field(2000, ge=1, le=MOST_PROPOSALS)
    """Of one request's own boxes, an image."""
    sides_px: tuple[Annotated[float, Field(ge=4)], ...] = Field(min_length=1)
    """The square root of a window's area, in pixels of the canvas."""
    height_to_width: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    step: float = Field(ge=0.1, le=1)
    """From a window to the next of its size, in parts of its side."""
    cell_px: int = Field(16, ge=1)
    """Of the feature map: windows whose corners lie in the same cells look alike, and only the first is kept."""


class Manifest(_Part):
    """manifest.json, as written."""

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    task: Task
    architecture: str
    labels: tuple[str, ...] = Field(min_length=1)
    files: dict[str, str]
    preprocess: Preprocess
    postprocess: Postprocess
    provenance: dict[str, Any]
    keypoints: Skeleton | None = None
    calibration: ScoreCalibration | None = None
    proposals: Proposals | None = None
    """Of a Fast R-CNN, whose detector.onnx has `proposals` for a third input."""
    engines: tuple[Literal["onnx", "openvino"], ...] | None = Field(None, min_length=1)
    """Those its graphs were judged on, `auto` chooses among them; None: any."""

    @model_validator(mode="after")
    def _scores_are_of_labels_there_are(self) -> "Manifest":
        lines = self.calibration.by_class if self.calibration else {}
        if unknown := (set(lines) | set(self.postprocess.class_score_thresholds)) - set(self.labels):
            raise ValueError(f"calibration and class_score_thresholds: {', '.join(sorted(unknown))} are no labels")
        return self

    def score_calibration(self) -> Calibration | None:
        """calibration by label id."""
        if self.calibration is None:
            return None
        lines = {self.labels.index(name) + 1: line.value() for name, line in self.calibration.by_class.items()}
        return Calibration(self.calibration.common.value(), lines)

    @model_validator(mode="after")
    def _keypoints_are_named(self) -> "Manifest":
        if (self.task == "keypoints") != (self.keypoints is not None):
            raise ValueError("keypoints: a keypoints bundle names its points, and no other does")
        return self


class Bundle:
    """A verified bundle: its manifest, its folder, its digest."""

    def __init__(self, root: Path, manifest: Manifest, digest: str) -> None:
        self.root, self.manifest, self.digest = root, manifest, digest

    @property
    def id(self) -> ModelId:
        return ModelId(self.manifest.name, self.manifest.version, self.digest)

    def path(self, name: str) -> Path:
        """Where a listed file lies. Raises BundleInvalid if the manifest does not list it."""
        if name not in self.manifest.files:
            raise BundleInvalid(f"{self.root} lists no file {name}")
        return self.root / name

    def golden_images(self) -> list[str]:
        """Names of the example pictures listed under golden/, in order."""
        return sorted(name for name in self.manifest.files if name.startswith("golden/") and not name.endswith(".json"))


def read_bundle(root: Path, signers: TrustedSigners | None = None) -> Bundle:
    """
    Read and verify the bundle in root, or in its only version folder.

    Raises BundleInvalid with what is wrong: no manifest, not the schema, a file missing, changed or outside root, or no
    signature by one of signers where they are given.
    """
    root = _version_folder(root)
    raw = _read_manifest(root)
    if signers is not None:
        signers.check(root, raw)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise BundleInvalid(f"{root / 'manifest.json'} does not hold: {problems}") from error
    for name, expected in manifest.files.items():
        _verify(root, name, expected)
    for name in GRAPHS[manifest.task]:
        if name not in manifest.files:
            raise BundleInvalid(f"{root}: a {manifest.task} bundle needs {name}, the manifest does not list it")
    return Bundle(root, manifest, "sha256:" + hashlib.sha256(raw).hexdigest())


def write_bundle(root: Path, manifest: dict[str, Any]) -> Bundle:
    """Write manifest.json over the files already in root, listing each with its sha256; returns it as read back."""
    own = (root / "manifest.json", root / SIGNATURE_FILE)
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p not in own)
    files = {path.relative_to(root).as_posix(): _sha256(path) for path in paths}
    document = {"schema_version": SCHEMA_VERSION, **manifest, "files": files}
    (root / "manifest.json").write_text(json.dumps(document, indent=2) + "\n")
    return read_bundle(root)


def _version_folder(root: Path) -> Path:
    if (root / "manifest.json").is_file():
        return root
    versions = sorted(path.parent for path in root.glob("*/manifest.json"))
    if not versions:
        raise BundleInvalid(f"{root} holds no manifest.json, neither itself nor in a version folder")
    if len(versions) > 1:
        names = ", ".join(path.name for path in versions)
        raise BundleInvalid(f"{root} holds several versions ({names}); name one of them")
    return versions[0]


def _read_manifest(root: Path) -> bytes:
    path = root / "manifest.json"
    _check_inside(root, path.name)
    if path.stat().st_size > _MOST_MANIFEST_BYTES:
        raise BundleInvalid(f"{path} has more than {_MOST_MANIFEST_BYTES} bytes")
    return path.read_bytes()


def _check_inside(root: Path, name: str) -> None:
    """Wherever symbolic links lead. Raises BundleInvalid."""
    if "\0" in name or "\\" in name or not (root / name).resolve().is_relative_to(root.resolve()):
        raise BundleInvalid(f"{root}: {name!r} lies outside the bundle")


def _verify(root: Path, name: str, expected: str) -> None:
    path = root / name
    _check_inside(root, name)
    if not path.is_file():
        raise BundleInvalid(f"{root}: {name} is listed but missing")
    if (actual := _sha256(path)) != expected:
        raise BundleInvalid(f"{path} has sha256 {actual[:12]}..., the manifest says {expected[:12]}...")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
