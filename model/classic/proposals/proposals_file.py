"""
Region proposals on disk, whatever made them: one .npz, or one .json for tools that write text.

.npz: `method` (a word), `file_names` (M,), `sizes_hw` (M, 2), `counts` (M,) and `boxes_xyxy` (sum of counts, 4).
.json: {"method": "...", "images": [{"file_name": "...", "height": 480, "width": 640, "boxes_xyxy": [[...], ...]}]}.
Boxes are in pixels of the image file, the likeliest first.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.datasets import CocoSplit

_ARRAYS = ("method", "file_names", "sizes_hw", "counts", "boxes_xyxy")
_OUTSIDE_PX = 0.5  # how far rounding may put an edge over the image's


class ProposalsInvalid(ValueError):
    """A proposals file that cannot be used; the message says what is wrong, where, and what was expected."""


@dataclass(frozen=True)
class ImageProposals:
    """Regions of one image: boxes_xyxy (N, 4) float32 in its pixels, the likeliest first."""

    size_hw: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]

    def at_size(self, size_hw: tuple[int, int]) -> NDArray[np.float32]:
        """The boxes in pixels of the image resized to size_hw."""
        scale_xy = np.array([size_hw[1] / self.size_hw[1], size_hw[0] / self.size_hw[0]], np.float32)
        return self.boxes_xyxy * np.tile(scale_xy, 2)


@dataclass(frozen=True)
class Proposals:
    """Regions of many images by file name, and the word for what made them."""

    method: str
    images: Mapping[str, ImageProposals]

    def of(self, data: CocoSplit) -> list[ImageProposals]:
        """In data's order. Raises ProposalsInvalid naming an image that is missing or has another size."""
        rows = [(str(image["file_name"]), (int(image["height"]), int(image["width"]))) for image in data.images]
        missing = [name for name, _ in rows if name not in self.images]
        if missing:
            raise ProposalsInvalid(
                f"no proposals for {missing[0]} ({len(missing)} of {len(rows)} images of split {data.split} are "
                "missing); make them with rcnn proposals make on the same folder and split"
            )
        for name, size_hw in rows:
            if self.images[name].size_hw != size_hw:
                raise ProposalsInvalid(
                    f"proposals of {name} are for {_words(self.images[name].size_hw)}, the image is {_words(size_hw)}"
                )
        return [self.images[name] for name, _ in rows]


def write_proposals(path: Path, proposals: Proposals) -> None:
    """Write path as .npz, or as .json if it is called so."""
    if path.suffix == ".json":
        path.write_text(json.dumps(_document(proposals)) + "\n")
        return
    images = proposals.images.values()
    with path.open("wb") as file:  # numpy would add .npz to other names
        np.savez_compressed(
            file,
            method=np.array(proposals.method),
            file_names=np.array(list(proposals.images)),
            sizes_hw=np.array([image.size_hw for image in images], np.int64).reshape(-1, 2),
            counts=np.array([len(image.boxes_xyxy) for image in images], np.int64),
            boxes_xyxy=np.concatenate([np.zeros((0, 4), np.float32), *(image.boxes_xyxy for image in images)]),
        )


def read_proposals(path: Path) -> Proposals:
    """Read and check what write_proposals wrote. Raises ProposalsInvalid."""
    if not path.is_file():
        raise ProposalsInvalid(f"{path} is not there; rcnn proposals make writes one")
    read = _from_json if path.suffix == ".json" else _from_npz
    method, rows = read(path)
    images = {name: _checked(f"{path}, {name}", size_hw, boxes) for name, size_hw, boxes in rows}
    if len(images) < len(rows):
        raise ProposalsInvalid(f"{path} holds a file name twice; expected each image once")
    return Proposals(method, images)


_Row = tuple[str, tuple[int, int], NDArray[np.float32]]


def _from_npz(path: Path) -> tuple[str, list[_Row]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ProposalsInvalid(f"{path} is not readable as .npz: {error}") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ProposalsInvalid(f"{path} lacks {', '.join(missing)}; it holds {', '.join(arrays) or 'nothing'}")
    names, sizes_hw, counts, boxes = (arrays[name] for name in _ARRAYS[1:])
    expected = {"sizes_hw": (len(names), 2), "counts": (len(names),), "boxes_xyxy": (int(counts.sum()), 4)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ProposalsInvalid(f"{path}: {name} has shape {arrays[name].shape}, expected {shape}")
    parts = np.split(boxes.astype(np.float32), np.cumsum(counts)[:-1]) if len(names) else []
    sizes = [(int(height), int(width)) for height, width in sizes_hw]
    return str(arrays["method"]), list(zip(map(str, names), sizes, parts, strict=True))


def _from_json(path: Path) -> tuple[str, list[_Row]]:
    try:
        document = json.loads(path.read_text())
        return str(document["method"]), [_json_row(image) for image in document["images"]]
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ProposalsInvalid(
            f"{path} is not a proposals file: {error!r}; expected method, and images with file_name, height, width "
            "and boxes_xyxy (four numbers a box)"
        ) from error


def _json_row(image: dict[str, Any]) -> _Row:
    boxes = np.array(image["boxes_xyxy"], np.float32)
    return str(image["file_name"]), (int(image["height"]), int(image["width"])), boxes.reshape(len(boxes), 4)


def _document(proposals: Proposals) -> dict[str, Any]:
    rows = [
        {"file_name": name, "height": image.size_hw[0], "width": image.size_hw[1], "boxes_xyxy": boxes}
        for name, image in proposals.images.items()
        for boxes in [image.boxes_xyxy.tolist()]
    ]
    return {"method": proposals.method, "images": rows}


def _checked(place: str, size_hw: tuple[int, int], boxes_xyxy: NDArray[np.float32]) -> ImageProposals:
    height, width = size_hw
    far = np.array([width, height, width, height]) + _OUTSIDE_PX
    sound = np.isfinite(boxes_xyxy).all(axis=1) & (boxes_xyxy >= -_OUTSIDE_PX).all(axis=1)
    sound &= (boxes_xyxy <= far).all(axis=1) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    if not sound.all():
        index = int(np.argmin(sound))
        raise ProposalsInvalid(
            f"{place}: box {index} is {boxes_xyxy[index].tolist()}, expected x1 < x2 and y1 < y2 within "
            f"{_words(size_hw)}"
        )
    return ImageProposals(size_hw, boxes_xyxy)


def _words(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]} x {size_hw[0]} pixels"
