"""What is expected of a bundle's golden images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model import golden
from service.bundle import read_bundle, write_bundle

SHIPPED = Path("model/zoo/blood-cells/1")
IMAGE = "golden/1-BloodImage_00277.jpg"
NOWHERE = {"label": "WBC", "label_id": 2, "score": 0.9, "box": [1.0, 1.0, 9.0, 9.0]}


def expected_after(invented: int, tmp_path: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """What is kept where so many detections are expected that no engine finds."""
    root = tmp_path / "1"
    shutil.copytree(SHIPPED, root)
    path = root / f"{IMAGE}.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "detections": document["detections"] + [NOWHERE] * invented}))
    manifest = read_bundle(SHIPPED).manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    counts = golden.keep_what_all_find(write_bundle(root, manifest))
    return counts, json.loads(path.read_bytes())["detections"]


@pytest.fixture
def found() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((SHIPPED / f"{IMAGE}.json").read_bytes())["detections"]
    return rows


def test_what_an_engine_misses_is_not_expected_and_all_else_is(found: list[dict[str, Any]], tmp_path: Path) -> None:
    counts, rows = expected_after(1, tmp_path)
    assert rows == found
    assert counts[IMAGE] == len(found)


def test_an_engine_that_misses_many_does_not_make_them_unexpected(found: list[dict[str, Any]], tmp_path: Path) -> None:
    _, rows = expected_after(len(found), tmp_path)
    assert len(rows) == 2 * len(found)
