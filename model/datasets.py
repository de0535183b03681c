"""
COCO annotations -> samples held in memory: pixels, instance label map, boxes.

Shape shorthand in this package:  N images · H, W height and width · D objects in one image · R regions over all images
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


class DatasetInvalid(ValueError):
    """An annotation file that cannot be used as it stands; the message names the file and the object."""


@dataclass(frozen=True)
class Sample:
    """One image and its objects."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes_xyxy: NDArray[np.float32]  # (D, 4) pixels
    labels: NDArray[np.int64]  # (D,) 1 is the first class
    instances: NDArray[np.uint16] | None  # (H, W) object index + 1, 0 is background; None without masks


@dataclass(frozen=True)
class CocoSplit:
    """An annotation file read and checked: `<root>/<split>.json` beside `<root>/images/`."""

    root: Path
    split: str
    labels: tuple[str, ...]
    images: tuple[dict[str, Any], ...]
    annotations: dict[int, list[dict[str, Any]]]  # by image id
    class_index: dict[int, int]  # category id -> 1 ... number of classes

    @property
    def annotation_path(self) -> Path:
        return self.root / f"{self.split}.json"

    def image_path(self, image: dict[str, Any]) -> Path:
        return self.root / "images" / str(image["file_name"])

    def fingerprint(self) -> str:
        """sha256 over the annotation file and every image's bytes, in annotation order."""
        digest = hashlib.sha256(self.annotation_path.read_bytes())
        for image in self.images:
            digest.update(self.image_path(image).read_bytes())
        return digest.hexdigest()

    def load(self, image: dict[str, Any], *, masks: bool) -> Sample:
        """Read one image and its objects. Crowd regions are left out, as torchvision's reference training does."""
        pixels = cv2.imread(str(self.image_path(image)), cv2.IMREAD_COLOR)
        if pixels is None:
            raise DatasetInvalid(f"{self.image_path(image)} is missing or is not an image OpenCV can read")
        objects = [a for a in self.annotations[image["id"]] if not a.get("iscrowd")]
        boxes = np.array([a["bbox"] for a in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([self.class_index[a["category_id"]] for a in objects], np.int64)
        instances = self._instances(objects, pixels.shape[:2]) if masks else None
        return Sample(np.ascontiguousarray(pixels[:, :, ::-1]), boxes, labels, instances)

    def _instances(self, objects: list[dict[str, Any]], image_hw: tuple[int, ...]) -> NDArray[np.uint16]:
        instances = np.zeros(image_hw, np.uint16)
        for index, annotation in enumerate(objects, start=1):
            if "segmentation" not in annotation:
                raise DatasetInvalid(f"{self.annotation_path}: object {annotation['id']} has no segmentation")
            instances[coco_mask.decode(annotation["segmentation"]).astype(bool)] = index
        return instances


def read_coco(root: Path, split: str) -> CocoSplit:
    """
    Read and check `<root>/<split>.json`.

    Raises DatasetInvalid naming the file and object: no such file, not COCO, a box without area, an unknown category.
    """
    path = root / f"{split}.json"
    if not path.is_file():
        raise DatasetInvalid(
            f"{path} does not exist; expected COCO annotations there and pictures in {root / 'images'}"
        )
    document = json.loads(path.read_text())
    missing = {"images", "annotations", "categories"} - set(document)
    if missing:
        raise DatasetInvalid(f"{path} is not a COCO annotation file: no {', '.join(sorted(missing))}")
    categories = sorted(document["categories"], key=lambda category: int(category["id"]))
    class_index = {int(category["id"]): index for index, category in enumerate(categories, start=1)}
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        _check(annotation, path, by_image, class_index)
        by_image[annotation["image_id"]].append(annotation)
    labels = tuple(str(category["name"]) for category in categories)
    return CocoSplit(root, split, labels, tuple(document["images"]), by_image, class_index)


def _check(
    annotation: dict[str, Any], path: Path, by_image: dict[int, list[dict[str, Any]]], class_index: dict[int, int]
) -> None:
    where = f"{path}: object {annotation.get('id')}"
    if annotation.get("image_id") not in by_image:
        raise DatasetInvalid(f"{where} belongs to image {annotation.get('image_id')}, which is not listed")
    if annotation.get("category_id") not in class_index:
        raise DatasetInvalid(
            f"{where} has category {annotation.get('category_id')}, expected one of {list(class_index)}"
        )
    if len(annotation.get("bbox", ())) != 4 or min(annotation["bbox"][2:]) <= 0:
        raise DatasetInvalid(f"{where} has box {annotation.get('bbox')}, expected [x, y, width, height] with some area")
