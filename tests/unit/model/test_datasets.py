"""Annotations are checked before the first step, and the message says where to look."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model.datasets import DatasetInvalid, read_coco

GOOD: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [2, 3, 4, 5], "iscrowd": 0}],
}


def written(root: Path, document: dict[str, Any]) -> Path:
    (root / "images").mkdir(exist_ok=True)
    cv2.imwrite(str(root / "images" / "a.png"), np.full((10, 20, 3), (255, 0, 0), np.uint8))
    (root / "train.json").write_text(json.dumps(document))
    return root


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """Boxes become corners, categories count from 1 in id order, pixels are RGB."""
    data = read_coco(written(tmp_path, GOOD), "train")
    sample = data.load(data.images[0], masks=False)
    assert data.labels == ("cat", "dog")
    assert sample.boxes_xyxy.tolist() == [[2, 3, 6, 8]] and sample.labels.tolist() == [2]
    assert sample.image[0, 0].tolist() == [0, 0, 255]


def test_the_fingerprint_changes_with_any_byte(tmp_path: Path) -> None:
    """A picture touched is another dataset."""
    data = read_coco(written(tmp_path, GOOD), "train")
    before = data.fingerprint()
    assert before == read_coco(tmp_path, "train").fingerprint()
    (tmp_path / "images" / "a.png").write_bytes(b"touched")
    assert data.fingerprint() != before


def _broken(**changes: Any) -> dict[str, Any]:
    return GOOD | {"annotations": [GOOD["annotations"][0] | changes]}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param({"images": []}, "no annotations, categories", id="not COCO"),
        pytest.param(_broken(bbox=[1, 2, 0, 4]), r"object 5 has box \[1, 2, 0, 4\]", id="no area"),
        pytest.param(_broken(category_id=9), r"object 5 has category 9, expected one of \[3, 7\]", id="category"),
        pytest.param(_broken(image_id=2), "object 5 belongs to image 2", id="image"),
    ],
)
def test_broken_annotations_are_named(tmp_path: Path, document: dict[str, Any], words: str) -> None:
    """Which file, which object, what is wrong."""
    with pytest.raises(DatasetInvalid, match=words):
        read_coco(written(tmp_path, document), "train")


def test_missing_files_and_masks_are_named(tmp_path: Path) -> None:
    """No annotation file; no picture; no segmentation where masks are needed."""
    with pytest.raises(DatasetInvalid, match=r"val\.json does not exist"):
        read_coco(tmp_path, "val")
    data = read_coco(written(tmp_path, GOOD), "train")
    with pytest.raises(DatasetInvalid, match="object 5 has no segmentation"):
        data.load(data.images[0], masks=True)
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(DatasetInvalid, match="is missing or is not an image"):
        data.load(data.images[0], masks=False)
