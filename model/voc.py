"""
Pascal VOC annotations (one XML file an image) -> a COCO document.

VOC counts pixels from 1 and includes the last one (development kit, section "annotation"): [1, 1, W, H] is the whole
image. Difficult objects become crowd regions: neither learnt from nor counted.
"""

import xml.etree.ElementTree as ElementTree  # nosec B405  # a user's own annotations; expat bounds entities and fetches none
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from model.annotations import Problem

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def to_coco(paths: Iterable[Path], names: Iterable[str]) -> tuple[dict[str, Any], list[Problem]]:
    """
    The document of the images that paths describe, with names as categories, and a Problem for each unreadable part.

    An object's id counts from 1 over all files; "source" is its file and its place in it.
    """
    category = {name: index for index, name in enumerate(sorted(names), start=1)}
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": index, "name": name} for name, index in category.items()],
    }
    problems: list[Problem] = []
    for image_id, path in enumerate(paths, start=1):
        try:
            root = ElementTree.parse(path).getroot()  # nosec B314  # as above
        except (ElementTree.ParseError, OSError) as error:
            problems.append(Problem(str(path), f"not readable as XML ({error})"))
            continue
        if root.tag != "annotation":
            problems.append(Problem(str(path), f"the root element is <{root.tag}>, expected <annotation>"))
            continue
        document["images"].append({"id": image_id, "file_name": _file_name(root, path), **_size(root)})
        for place, element in enumerate(root.iter("object"), start=1):
            row = _object(element, f"{path}: object {place}", category, problems)
            if row is not None:
                document["annotations"].append({**row, "id": len(document["annotations"]) + 1, "image_id": image_id})
    return document, problems


def class_names(paths: Iterable[Path]) -> set[str]:
    """Every class that occurs in paths; unreadable files are passed over (to_coco names them)."""
    names: set[str] = set()
    for path in paths:
        try:
            names.update(element.findtext("name", "").strip() for element in ElementTree.parse(path).iter("object"))  # nosec B314  # as above
        except (ElementTree.ParseError, OSError):
            continue
    return names - {""}


def _file_name(root: ElementTree.Element, path: Path) -> str:
    return root.findtext("filename", "").strip() or f"{path.stem}.jpg"


def _size(root: ElementTree.Element) -> dict[str, int]:
    """Width and height if they are given; some tools write 0."""
    found = {side: root.findtext(f"size/{side}", "").strip() for side in ("width", "height")}
    return {side: int(text) for side, text in found.items() if text.isdigit()}


def _object(
    element: ElementTree.Element, place: str, category: dict[str, int], problems: list[Problem]
) -> dict[str, Any] | None:
    name = element.findtext("name", "").strip()
    texts = [element.findtext(f"bndbox/{corner}", "") for corner in _CORNERS]
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError:
        given = dict(zip(_CORNERS, texts, strict=True))
        problems.append(Problem(place, f"has <bndbox> {given}, expected four numbers {', '.join(_CORNERS)}"))
        return None
    if name not in category:
        problems.append(Problem(place, "has no <name>"))
        return None
    return {
        "source": f"{place} ({name})",
        "category_id": category[name],
        "bbox": [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1],
        "iscrowd": int(element.findtext("difficult", "0").strip() == "1"),
    }
