"""Annotations are checked before the first step, and the message says where to look."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model.datasets import DatasetInvalid, read_dataset

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
    data = read_dataset(written(tmp_path, GOOD), "train")
    sample = data.load(data.images[0], masks=False)
    assert data.labels == ("cat", "dog")
    assert sample.boxes_xyxy.tolist() == [[2, 3, 6, 8]] and sample.labels.tolist() == [2]
    assert sample.image[0, 0].tolist() == [0, 0, 255]


def test_the_fingerprint_changes_with_any_byte(tmp_path: Path) -> None:
    """A picture touched is another dataset."""
    data = read_dataset(written(tmp_path, GOOD), "train")
    before = data.fingerprint()
    assert before == read_dataset(tmp_path, "train").fingerprint()
    (tmp_path / "images" / "a.png").write_bytes(b"touched")
    assert data.fingerprint() != before


def _broken(**changes: Any) -> dict[str, Any]:
    return GOOD | {"annotations": [GOOD["annotations"][0] | changes]}


def _runs(size: list[int], counts: Any) -> dict[str, Any]:
    return _broken(segmentation={"size": size, "counts": counts})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param({"images": []}, "no list of annotations, categories", id="not COCO"),
        pytest.param(_broken(bbox=[1, 2, 0, 4]), r"object 5: has box \[1, 2, 0, 4\], which has no area", id="no area"),
        pytest.param(_broken(bbox=[18, 2, 9, 4]), "outside its image of 20 x 10 pixels", id="outside"),
        pytest.param(_broken(bbox=[1, "2", 3, 4]), "expected four numbers", id="not numbers"),
        pytest.param(_broken(bbox=None), "object 5: has box None", id="no box"),
        pytest.param(_broken(category_id=9), r"object 5: has category 9, expected one of \[3, 7\]", id="category"),
        pytest.param(_broken(image_id=2), "object 5: belongs to image 2", id="image"),
        pytest.param(_broken(segmentation=[[1, 2, 3]]), "three x, y pairs", id="polygon"),
        pytest.param(_broken(segmentation=7), "neither a list of polygons nor run lengths", id="segmentation"),
        pytest.param(
            _runs([10, 20], "3"), "unreadable run lengths: they cover 3 pixels, the image has 200", id="short"
        ),
        pytest.param(_runs([10, 20], "zzz~"), "unreadable run lengths", id="garbage"),
        pytest.param(_runs([20, 10], [200]), r"size \[20, 10\], expected .* \[10, 20\]", id="turned"),
        pytest.param(_runs([10, 20], [100, -1]), "unreadable run lengths", id="negative"),
        pytest.param(GOOD | {"annotations": GOOD["annotations"] * 2}, "object 5: id 5 is used twice", id="twice"),
        pytest.param(GOOD | {"images": GOOD["images"] * 2}, "image id 1 is used by a.png too", id="image twice"),
        pytest.param(GOOD | {"categories": GOOD["categories"] * 2}, "categories need a id each", id="category twice"),
        pytest.param(GOOD | {"images": [GOOD["images"][0] | {"width": 10}]}, "say 10 x 10 pixels", id="size"),
        pytest.param(GOOD | {"annotations": ["box"]}, "annotations holds 'box'", id="not objects"),
    ],
)
def test_broken_annotations_are_named(tmp_path: Path, document: dict[str, Any], words: str) -> None:
    """Which file, which object, what is wrong."""
    with pytest.raises(DatasetInvalid, match=words):
        read_dataset(written(tmp_path, document), "train")


def test_missing_files_and_masks_are_named(tmp_path: Path) -> None:
    """No annotations; no segmentation where masks are needed; no picture; no JSON."""
    with pytest.raises(DatasetInvalid, match="holds no annotations for split val"):
        read_dataset(tmp_path, "val")
    written(tmp_path, GOOD)
    with pytest.raises(DatasetInvalid, match="object 5: has no segmentation"):
        read_dataset(tmp_path, "train", masks=True)
    (tmp_path / "images" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetInvalid, match=r"a\.png: not a readable image"):
        read_dataset(tmp_path, "train")
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(DatasetInvalid, match=r"a\.png: the image is missing"):
        read_dataset(tmp_path, "train")
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(DatasetInvalid, match="not readable as JSON"):
        read_dataset(tmp_path, "train")


def test_broken_annotations_can_be_left_out_and_are_listed(tmp_path: Path) -> None:
    """The rest is used as it is; the list says what is missing from it."""
    worse = [
        GOOD["annotations"][0] | {"id": 6, "category_id": 9},
        GOOD["annotations"][0] | {"id": 7, "bbox": [1, 1, 0, 0]},
    ]
    pictures = [*GOOD["images"], {"id": 2, "file_name": "gone.png", "width": 5, "height": 5}]
    broken = GOOD | {"annotations": [*GOOD["annotations"], *worse], "images": pictures}
    data = read_dataset(written(tmp_path, broken), "train", skip_broken=True)
    assert [row["id"] for row in data.annotations[1]] == [5] and len(data.images) == 1
    assert len(data.skipped) == 3 and "gone.png" in str(data.skipped[0])


def test_boxes_a_pixel_over_the_rim_are_cut_back(tmp_path: Path) -> None:
    """Rounding is no reason to refuse."""
    data = read_dataset(written(tmp_path, _broken(bbox=[-0.5, 3, 21, 5])), "train")
    assert data.annotations[1][0]["bbox"] == [0, 3, 20, 5]


@pytest.mark.parametrize(
    "segmentation",
    [
        pytest.param([[2, 3, 6, 3, 6, 8, 2, 8]], id="polygon"),
        pytest.param({"size": [10, 20], "counts": [23, 5, 5, 5, 5, 5, 5, 5, 142]}, id="plain run lengths"),
        pytest.param({"size": [10, 20], "counts": "g05500000Y4"}, id="compressed run lengths"),
    ],
)
def test_masks_come_in_three_ways(tmp_path: Path, segmentation: Any) -> None:
    """The same rectangle, four wide and five high."""
    data = read_dataset(written(tmp_path, _broken(segmentation=segmentation)), "train", masks=True)
    instances = data.load(data.images[0], masks=True).instances
    assert instances is not None
    expected = np.zeros((10, 20), np.uint16)
    expected[3:8, 2:6] = 1
    np.testing.assert_array_equal(instances, expected)
    assert data.annotations[1][0]["area"] == 20


VOC = """<annotation><filename>a.png</filename><size><width>20</width><height>10</height></size>
<object><name>dog</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>6</xmax><ymax>8</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>10</ymax></bndbox></object></annotation>"""


def voc(root: Path, text: str = VOC) -> Path:
    written(root, GOOD)
    (root / "train.json").unlink()
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "Annotations" / "a.xml").write_text(text)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    return root


def test_voc_means_the_same(tmp_path: Path) -> None:
    """Pixels count from 1 there; difficult objects are not learnt from; classes are in order of their names."""
    data = read_dataset(voc(tmp_path), "train")
    sample = data.load(data.images[0], masks=False)
    assert data.labels == ("cat", "dog")
    assert sample.boxes_xyxy.tolist() == [[2, 3, 6, 8]] and sample.labels.tolist() == [2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(VOC[:50], r"a\.xml: not readable as XML", id="cut off"),
        pytest.param("<note/>", "root element is <note>, expected <annotation>", id="not VOC"),
        pytest.param(VOC.replace("<xmin>3<", "<xmin>three<"), r"a\.xml: object 1: has <bndbox>", id="not a number"),
        pytest.param(VOC.replace("<xmax>6<", "<xmax>1<"), r"object 1 \(dog\): has box .* no area", id="no area"),
        pytest.param(VOC.replace("<name>dog</name>", ""), "object 1: has no <name>", id="no name"),
        pytest.param(VOC.replace("a.png", "b.png"), r"b\.png: the image is missing", id="no image"),
    ],
)
def test_broken_voc_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    """Which file, which object, what is wrong."""
    with pytest.raises(DatasetInvalid, match=words):
        read_dataset(voc(tmp_path, text), "train")
