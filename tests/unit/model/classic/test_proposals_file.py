"""What is written is what is read; a file that cannot be used says why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.classic.proposals.proposals_file import (
    ImageProposals,
    Proposals,
    ProposalsInvalid,
    read_proposals,
    write_proposals,
)
from model.datasets import read_dataset
from tests.unit.model.pictures import draw_dataset

SOUND = {
    "method": "by hand",
    "images": [{"file_name": "a.png", "height": 10, "width": 20, "boxes_xyxy": [[1, 2, 3, 4]]}],
}


def few() -> Proposals:
    boxes = np.array([[0, 0, 20, 10], [1.5, 2, 3, 4]], np.float32)
    images = {"a.png": ImageProposals((10, 20), boxes), "b.png": ImageProposals((8, 8), boxes[:0])}
    return Proposals("selective-fast", images)


@pytest.mark.parametrize("name", ["some.npz", "some.json", "some.proposals"])
def test_proposals_survive_being_written_down(tmp_path: Path, name: str) -> None:
    """Method, sizes, boxes and their order; images without any box too."""
    write_proposals(tmp_path / name, few())
    back = read_proposals(tmp_path / name)
    assert back.method == "selective-fast" and list(back.images) == ["a.png", "b.png"]
    for file_name, image in few().images.items():
        assert back.images[file_name].size_hw == image.size_hw
        assert np.array_equal(back.images[file_name].boxes_xyxy, image.boxes_xyxy)


def _changed(**changes: Any) -> dict[str, Any]:
    return {**SOUND, "images": [{**SOUND["images"][0], **changes}]}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param("{", "not a proposals file", id="no JSON"),
        pytest.param({"images": []}, "'method'", id="no method"),
        pytest.param(_changed(boxes_xyxy=[[1, 2, 3]]), "expected method, and images with", id="three numbers"),
        pytest.param(_changed(boxes_xyxy=[[3, 2, 1, 4]]), r"a\.png: box 0 is \[3.0, 2.0, 1.0, 4.0\]", id="turned"),
        pytest.param(
            _changed(boxes_xyxy=[[1, 2, 3, 4], [0, 0, 21, 4]]), "box 1 .* within 20 x 10 pixels", id="outside"
        ),
        pytest.param(_changed(boxes_xyxy=[[1, 2, float("nan"), 4]]), "box 0", id="not a number"),
        pytest.param({**SOUND, "images": SOUND["images"] * 2}, "a file name twice", id="twice"),  # type: ignore[operator]
    ],
)
def test_a_broken_json_file_says_what_is_wrong(tmp_path: Path, document: Any, words: str) -> None:
    """Which image, which box, what was expected."""
    path = tmp_path / "p.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ProposalsInvalid, match=words):
        read_proposals(path)


def test_a_broken_npz_file_says_what_is_wrong(tmp_path: Path) -> None:
    """Absent; not an archive; an array missing; a wrong shape."""
    path = tmp_path / "p.npz"
    with pytest.raises(ProposalsInvalid, match="rcnn proposals make"):
        read_proposals(path)
    path.write_bytes(b"PK nonsense")
    with pytest.raises(ProposalsInvalid, match="not readable as"):
        read_proposals(path)
    np.savez(path, method=np.array("x"), file_names=np.array(["a"]))
    with pytest.raises(ProposalsInvalid, match="lacks sizes_hw, counts, boxes_xyxy"):
        read_proposals(path)
    arrays = {"method": np.array("x"), "file_names": np.array(["a"]), "sizes_hw": np.array([[9, 9]])}
    np.savez(path, **arrays, counts=np.array([2]), boxes_xyxy=np.zeros((1, 4)))
    with pytest.raises(ProposalsInvalid, match=r"boxes_xyxy has shape \(1, 4\), expected \(2, 4\)"):
        read_proposals(path)


def test_proposals_are_matched_to_a_dataset_by_name_and_size(tmp_path: Path) -> None:
    """In the dataset's order and scaled on demand; a missing or resized image is named."""
    data = read_dataset(draw_dataset(tmp_path, {"val": 2}), "val")
    boxes = np.array([[0, 0, 96, 32]], np.float32)
    images = {f"val-{index}.png": ImageProposals((64, 96), boxes + index) for index in (1, 0)}
    found = Proposals("x", images | {"other.png": ImageProposals((1, 1), boxes)}).of(data)
    assert [image.boxes_xyxy[0, 0] for image in found] == [0, 1]
    assert found[0].at_size((32, 24)).tolist() == [[0, 0, 24, 16]]
    with pytest.raises(ProposalsInvalid, match=r"no proposals for val-0\.png \(1 of 2"):
        Proposals("x", {"val-1.png": images["val-1.png"]}).of(data)
    with pytest.raises(ProposalsInvalid, match="are for 64 x 96 pixels, the image is 96 x 64"):
        Proposals("x", images | {"val-1.png": ImageProposals((96, 64), boxes)}).of(data)
