"""What can be wrong with a COCO document, found object by object before anything is trained or judged on it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

Object = dict[str, Any]
SLACK_PX = 1.0  # rounding and counting from 1 move boxes this far over the rim; they are cut back, not refused
_TURNED = range(5, 9)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Problem:
    """Where it is (file and object) and what is wrong with it, in words."""

    where: str
    wrong: str

    def __str__(self) -> str:
        return f"{self.where}: {self.wrong}"


@dataclass(frozen=True)
class Checked:
    """The images and objects that are sound, boxes within their image, and a Problem for each that is not."""

    images: list[dict[str, Any]]
    objects: list[Object]
    problems: list[Problem]


def check(document: dict[str, Any], image_dir: Path, place: Callable[[Object], str], *, masks: bool) -> Checked:
    """
    Check document's images (by opening each file's header) and objects; place names an object and its file.

    An object of a broken image is dropped with it and not named again. With masks every object needs a segmentation.
    """
    problems: list[Problem] = []
    images, broken = _checked_images(document["images"], image_dir, problems)
    categories = {category["id"] for category in document["categories"]}
    seen: set[Any] = set()
    objects = []
    for row in document["annotations"]:
        if row.get("image_id") in broken:
            continue
        wrong = next(_faults(row, images, categories, seen, masks=masks), None)
        seen.add(row.get("id"))
        if wrong is None:
            objects.append(_sound(row, images[row["image_id"]]))
        else:
            problems.append(Problem(place(row), wrong))
    return Checked(list(images.values()), objects, problems)


def _checked_images(
    rows: list[dict[str, Any]], image_dir: Path, problems: list[Problem]
) -> tuple[dict[Any, dict[str, Any]], set[Any]]:
    """Sound images by id, with their true width and height, and the ids of the others."""
    sound: dict[Any, dict[str, Any]] = {}
    broken = set()
    for row in rows:
        path = image_dir / str(row.get("file_name"))
        if row.get("id") in sound:
            problems.append(
                Problem(str(path), f"image id {row.get('id')} is used by {sound[row['id']]['file_name']} too")
            )
            continue
        size = _size_wh(path)
        declared = (row.get("width") or None, row.get("height") or None)
        wrong = size if isinstance(size, str) else _size_fault(declared, size)
        if wrong is None:
            sound[row["id"]] = {**row, "width": size[0], "height": size[1]}
        else:
            problems.append(Problem(str(path), wrong))
            broken.add(row.get("id"))
    return sound, broken - set(sound)


def _size_wh(path: Path) -> tuple[int, int] | str:
    """(width, height) as a person sees it, or what is wrong with the file."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            return (height, width) if picture.getexif().get(0x0112) in _TURNED else (width, height)
    except FileNotFoundError:
        return "the image is missing"
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        return f"not a readable image ({error})"


def _size_fault(declared: tuple[Any, Any], size_wh: tuple[int, int]) -> str | None:
    if None in declared or declared == size_wh:
        return None
    return f"the annotations say {declared[0]} x {declared[1]} pixels, the image has {size_wh[0]} x {size_wh[1]}"


def _faults(
    row: Object, images: dict[Any, dict[str, Any]], categories: set[Any], seen: set[Any], *, masks: bool
) -> Iterator[str]:
    """What is wrong with one object, the gravest first."""
    if row.get("id") in seen:
        yield f"id {row.get('id')} is used twice"
    if row.get("image_id") not in images:
        yield f"belongs to image {row.get('image_id')!r}, which is not listed"
        return
    if row.get("category_id") not in categories:
        yield f"has category {row.get('category_id')!r}, expected one of {sorted(categories)}"
    image = images[row["image_id"]]
    yield from _box_faults(row.get("bbox"), image["width"], image["height"])
    if row.get("segmentation"):
        yield from _segmentation_faults(row["segmentation"], image["width"], image["height"])
    elif masks and not row.get("iscrowd"):
        yield "has no segmentation, which training masks or judging them needs"


def _box_faults(box: Any, width: int, height: int) -> Iterator[str]:
    if not (isinstance(box, list | tuple) and len(box) == 4 and all(_is_number(value) for value in box)):
        yield f"has box {box!r}, expected four numbers [x, y, width, height]"
        return
    x, y, w, h = box
    if w <= 0 or h <= 0:
        yield f"has box {box}, which has no area; expected [x, y, width, height] with width and height above 0"
    if min(x, y) < -SLACK_PX or x + w > width + SLACK_PX or y + h > height + SLACK_PX:
        yield f"has box {box}, which lies outside its image of {width} x {height} pixels"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _segmentation_faults(segmentation: Any, width: int, height: int) -> Iterator[str]:
    if isinstance(segmentation, list):
        for ring in segmentation:
            sound = isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 and all(map(_is_number, ring))
            if not sound:
                yield f"has polygon {str(ring)[:60]}, expected at least three x, y pairs of numbers"
        return
    if not (isinstance(segmentation, dict) and {"size", "counts"} <= set(segmentation)):
        yield "has a segmentation that is neither a list of polygons nor run lengths {size, counts}"
        return
    if list(segmentation["size"]) != [height, width]:
        yield f"has run lengths of size {segmentation['size']}, expected [height, width] = [{height}, {width}]"
    total = _pixels_counted(segmentation["counts"])
    if total != height * width:
        yield f"has unreadable run lengths: they cover {total} pixels, the image has {height * width}"


def _pixels_counted(counts: Any) -> int | None:
    """
    The sum of COCO run lengths, plain or compressed; None if they cannot be read.

    Compressed: six-bit digits from '0' (48) on, five bits of value each, bit 6 continues, sign in the last one's bit 5;
    from the third run on the difference to the run before last is written (pycocotools' maskApi.c).
    """
    if isinstance(counts, list):
        return sum(counts) if all(isinstance(run, int) and run >= 0 for run in counts) else None
    if not isinstance(counts, str):
        return None
    runs: list[int] = []
    value = shift = 0
    for digit in (ord(character) - 48 for character in counts):
        if not 0 <= digit < 64:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            run = value - (1 << shift if digit & 16 else 0) + (runs[-2] if len(runs) > 2 else 0)
            if run < 0:
                return None
            runs.append(run)
            value = shift = 0
    return None if shift else sum(runs)


def _sound(row: Object, image: dict[str, Any]) -> Object:
    """The object as pycocotools wants it: box within the image, area and iscrowd given, masks as compressed runs."""
    x, y, w, h = row["bbox"]
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, image["width"]), min(y + h, image["height"])
    result = {**row, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": int(bool(row.get("iscrowd")))}
    if row.get("segmentation"):
        result["segmentation"] = compressed(row["segmentation"], image["height"], image["width"])
    if "area" not in row:
        segments = "segmentation" in result
        result["area"] = float(decoded(result["segmentation"]).sum()) if segments else (x2 - x1) * (y2 - y1)
    return result


def compressed(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons or run lengths, sound ones -> COCO's compressed run lengths."""
    if isinstance(segmentation, list):
        merged: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        return merged
    if isinstance(segmentation["counts"], list):
        packed: dict[str, Any] = coco_mask.frPyObjects(segmentation, height, width)
        return packed
    return dict(segmentation)


def decoded(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    """Compressed run lengths -> (H, W)."""
    mask: NDArray[np.bool_] = coco_mask.decode(segmentation).astype(bool)
    return mask
