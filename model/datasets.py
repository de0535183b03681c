"""
A folder of labelled images, COCO or VOC, told apart by what is in it -> samples.

Shape shorthand in this package:  N images · H, W height and width · D objects in one image · R regions over all images
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model import voc
from model.annotations import Checked, Problem, check, decoded

_SHOWN_PROBLEMS = 10
_BYTES_IN_MEMORY = 4_000_000_000
LAYOUTS = (
    "COCO: <split>.json, annotations/instances_<split>.json or <split>/_annotations.coco.json; "
    "VOC: Annotations/*.xml with ImageSets/Main/<split>.txt, or <split>/*.xml"
)


class DatasetInvalid(ValueError):
    """Annotations that cannot be used as they stand; the message names each file and object."""


@dataclass(frozen=True)
class Sample:
    """One image and its objects."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes_xyxy: NDArray[np.float32]  # (D, 4) pixels
    labels: NDArray[np.int64]  # (D,) 1 is the first class
    instances: NDArray[np.uint16] | None  # (H, W) object index + 1, 0 is background; None without masks


@dataclass(frozen=True)
class CocoSplit:
    """One split of a dataset, read and checked, in COCO's terms whatever it was written in."""

    root: Path
    split: str
    labels: tuple[str, ...]
    images: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]  # by image id
    class_index: dict[int, int]  # category id -> 1 ... number of classes
    image_dir: Path
    sources: tuple[Path, ...]  # the annotation files
    skipped: tuple[Problem, ...] = ()  # what was dropped on request

    def image_path(self, image: dict[str, Any]) -> Path:
        return self.image_dir / str(image["file_name"])

    def evenly(self, count: int | None) -> "CocoSplit":
        """That many of the images, evenly over the split; all of them without a count, or where there are fewer."""
        count = min(count or len(self.images), len(self.images))
        return replace(self, images=tuple(self.images[i * len(self.images) // count] for i in range(count)))

    def document(self) -> dict[str, Any]:
        """As a COCO annotation file would hold it; ids count from 1, as pycocotools takes 0 for "none"."""
        categories = [{"id": id, "name": self.labels[index - 1]} for id, index in self.class_index.items()]
        rows = (row for image in self.images for row in self.annotations[image["id"]])
        numbered = [{**row, "id": number} for number, row in enumerate(rows, start=1)]
        return {"images": list(self.images), "annotations": numbered, "categories": categories}

    def fingerprint(self) -> str:
        """sha256 over the annotation files and every image's bytes, in annotation order."""
        digest = hashlib.sha256()
        for path in (*self.sources, *(self.image_path(image) for image in self.images)):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def load(self, image: dict[str, Any], *, masks: bool) -> Sample:
        """Read one image and its objects. Crowd regions are left out, as torchvision's reference training does."""
        pixels = cv2.imread(str(self.image_path(image)), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DatasetInvalid(f"{self.image_path(image)} is missing or is not an image OpenCV can read")
        objects = [row for row in self.annotations[image["id"]] if not row["iscrowd"]]
        boxes = np.array([row["bbox"] for row in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([self.class_index[row["category_id"]] for row in objects], np.int64)
        instances = _instances(objects, pixels.shape[:2]) if masks else None
        return Sample(np.ascontiguousarray(pixels[:, :, ::-1]), boxes, labels, instances)


class Samples(Sequence[Sample]):
    """A split's samples in order: all in memory if they fit there, else each read when it is asked for."""

    def __init__(self, data: CocoSplit, *, masks: bool) -> None:
        self._data, self._masks = data, masks
        bytes_a_pixel = 5 if masks else 3
        size = sum(image["width"] * image["height"] * bytes_a_pixel for image in data.images)
        self._kept = [data.load(image, masks=masks) for image in data.images] if size <= _BYTES_IN_MEMORY else None

    def __len__(self) -> int:
        return len(self._data.images)

    def __getitem__(self, index: Any) -> Any:
        return (
            self._kept[index]
            if self._kept is not None
            else self._data.load(self._data.images[index], masks=self._masks)
        )


def _instances(objects: list[dict[str, Any]], image_hw: tuple[int, ...]) -> NDArray[np.uint16]:
    """Where objects overlap the smaller one is on top."""
    instances = np.zeros(image_hw, np.uint16)
    for index in sorted(range(len(objects)), key=lambda index: -float(objects[index]["area"])):
        instances[decoded(objects[index]["segmentation"])] = index + 1
    return instances


def read_dataset(root: Path, split: str, *, masks: bool = False, skip_broken: bool = False) -> CocoSplit:
    """
    Read and check one split of the dataset in root (LAYOUTS); with masks, every object needs one.

    Raises DatasetInvalid listing what is broken, or, with skip_broken, drops that and keeps the list in `skipped`.
    """
    coco_path = next((path for path in _coco_places(root, split) if path.is_file()), None)
    problems: list[Problem] = []
    sources: tuple[Path, ...]
    if coco_path is not None:
        sources, document = (coco_path,), _read_coco(coco_path)
        image_dir = _image_dir(root, split, coco_path, document)
    else:
        sources, image_dir = _voc_files(root, split)
        document, problems = voc.to_coco(sources, voc.class_names((*sources, *(root / "Annotations").glob("*.xml"))))
    checked = check(document, image_dir, lambda row: _place(row, coco_path), masks=masks)
    problems += checked.problems
    if problems and not skip_broken:
        raise DatasetInvalid(_listed(problems))
    if not checked.images:
        raise DatasetInvalid(f"{root}: split {split} has no usable image")
    return _split(root, split, document["categories"], checked, image_dir, sources, problems)


def has_split(root: Path, split: str) -> bool:
    """Whether root holds annotations for split at all, sound or not."""
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    return any(path.is_file() for path in (*_coco_places(root, split), listed)) or any((root / split).glob("*.xml"))


def _coco_places(root: Path, split: str) -> list[Path]:
    return [
        root / f"{split}.json",
        root / "annotations" / f"instances_{split}.json",
        root / "annotations" / f"{split}.json",
        root / split / "_annotations.coco.json",
    ]


def _read_coco(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetInvalid(f"{path} is not readable as JSON: {error}") from error
    parts = ("images", "annotations", "categories")
    missing = [part for part in parts if not (isinstance(document, dict) and isinstance(document.get(part), list))]
    if missing:
        raise DatasetInvalid(f"{path} is not a COCO annotation file: no list of {', '.join(missing)}")
    for part in parts:
        bad = next((row for row in document[part] if not isinstance(row, dict)), None)
        if bad is not None:
            raise DatasetInvalid(f"{path}: {part} holds {bad!r}, expected objects in braces")
    _check_categories(path, document["categories"])
    return document


def _check_categories(path: Path, categories: list[dict[str, Any]]) -> None:
    for key, kind in (("id", int), ("name", str)):
        values = [category.get(key) for category in categories]
        if not all(isinstance(value, kind) for value in values) or len(set(values)) < len(values):
            raise DatasetInvalid(f"{path}: categories need a {key} each, all different, got {values}")
    if not categories:
        raise DatasetInvalid(f"{path} lists no categories")


def _image_dir(root: Path, split: str, coco_path: Path, document: dict[str, Any]) -> Path:
    """The folder that holds the first image that is found at all."""
    folders = [root / "images", root / "images" / split, root / split, root / f"{split}2017", coco_path.parent, root]
    for image in document["images"]:
        for folder in folders:
            if (folder / str(image.get("file_name"))).is_file():
                return folder
    return folders[0]


def _voc_files(root: Path, split: str) -> tuple[tuple[Path, ...], Path]:
    """The XML files of split and the folder of their images."""
    listed = root / "ImageSets" / "Main" / f"{split}.txt"
    if listed.is_file():
        names = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
        folder = next((root / name for name in ("JPEGImages", "images") if (root / name).is_dir()), root)
        return tuple(root / "Annotations" / f"{name}.xml" for name in names), folder
    beside = tuple(sorted((root / split).glob("*.xml")))
    if beside:
        return beside, root / split
    raise DatasetInvalid(f"{root} holds no annotations for split {split}. Looked for {LAYOUTS}.")


def _place(row: dict[str, Any], coco_path: Path | None) -> str:
    return str(row.get("source") or f"{coco_path}: object {row.get('id')}")


def _listed(problems: list[Problem]) -> str:
    shown = "\n  ".join(str(problem) for problem in problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    rest = f"\n  and {more} more" if more > 0 else ""
    return f"{len(problems)} annotations are broken; mend them or leave them out with --skip-broken:\n  {shown}{rest}"


def _split(
    root: Path,
    split: str,
    categories: list[dict[str, Any]],
    checked: Checked,
    image_dir: Path,
    sources: tuple[Path, ...],
    problems: list[Problem],
) -> CocoSplit:
    ordered = sorted(categories, key=lambda category: int(category["id"]))
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in checked.images}
    for row in checked.objects:
        by_image[row["image_id"]].append(row)
    labels = tuple(str(category["name"]) for category in ordered)
    index = {int(category["id"]): place for place, category in enumerate(ordered, start=1)}
    return CocoSplit(root, split, labels, tuple(checked.images), by_image, index, image_dir, sources, tuple(problems))
