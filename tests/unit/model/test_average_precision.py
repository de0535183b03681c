"""Our quick weighted AP against pycocotools, which is the oracle."""

from typing import Any

import numpy as np
import pytest

from model.average_precision import Matches, figures, judge, matches_by_class
from model.datasets import CocoSplit, read_dataset
from model.operating_point import mean_iou, precision_recall
from tests.unit.model.pictures import draw_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoSplit:
    return read_dataset(draw_dataset(tmp_path_factory.mktemp("data") / "shapes", {"val": 12}), "val", masks=True)


def shaken(data: CocoSplit, seed: int = 0) -> list[dict[str, Any]]:
    """Truths moved a little, some left out, some of the wrong class, with random scores, and noise beside them."""
    rng, rows = np.random.default_rng(seed), []
    for row in data.document()["annotations"]:
        if rng.random() < 0.2:
            continue
        box = np.array(row["bbox"]) + rng.normal(0, 2, 4)
        category = row["category_id"] if rng.random() < 0.9 else 3 - row["category_id"]
        found = {"image_id": row["image_id"], "category_id": category, "score": float(rng.random())}
        rows.append({**found, "bbox": np.maximum(box, 1).tolist(), "segmentation": row["segmentation"]})
        rows.append({**found, "score": float(rng.random()), "bbox": [*rng.uniform(0, 50, 2).tolist(), 20.0, 20.0]})
    return [row if "segmentation" in row else {**row, "segmentation": rows[0]["segmentation"]} for row in rows]


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_with_equal_weights_it_is_pycocotools_own_figure(data: CocoSplit, kind: str) -> None:
    """Class by class, to four decimals."""
    judged = judge(data, shaken(data), kind, 100)
    by_class = figures(judged, data.labels)["by_class"]
    found = [matches.average_precision(np.ones(12)) for matches in matches_by_class(judged)]
    assert found == pytest.approx([by_class[label]["AP"] for label in data.labels], abs=6e-5)
    assert all(0.05 < value < 0.95 for value in found)


def test_a_weight_of_zero_is_an_image_left_out(data: CocoSplit) -> None:
    """Weights 1 for the first six images, 0 for the others: as if only the first six had been judged."""
    rows = shaken(data)
    weights = np.array([1.0] * 6 + [0.0] * 6)
    weighted = [matches.average_precision(weights) for matches in matches_by_class(judge(data, rows, "box", 100))]
    fields = {**data.__dict__, "images": data.images[:6]}
    part = CocoSplit(**fields)
    kept = [row for row in rows if row["image_id"] < 6]
    alone = [matches.average_precision(np.ones(6)) for matches in matches_by_class(judge(part, kept, "box", 100))]
    assert weighted == pytest.approx(alone)


def test_a_class_without_truth_has_no_figure() -> None:
    """Rather than 0, which would say that it is found badly."""
    nothing = Matches(np.zeros(0), np.zeros(0, int), np.zeros((10, 0), bool), np.ones((10, 0), bool), np.zeros(3, int))
    assert np.isnan(nothing.average_precision(np.ones(3)))


def test_perfect_detections_are_perfect(data: CocoSplit) -> None:
    """AP, precision, recall and mean IoU of the truth itself are 1; ids from 0 in the file do not matter."""
    rows = [{**row, "score": 0.9} for row in data.document()["annotations"]]
    for kind in ("box", "mask"):
        judged = judge(data, rows, kind, 100)
        assert figures(judged, data.labels)["AP"] == 1.0
        assert mean_iou(judged, dict.fromkeys(data.class_index, 0.5)) == 1.0
    assert precision_recall(matches_by_class(judged), [0.5] * len(data.labels)) == {"precision": 1.0, "recall": 1.0}
    assert precision_recall(matches_by_class(judged), [0.95] * len(data.labels)) == {"precision": None, "recall": 0.0}


def test_no_detections_at_all_are_judged_too(data: CocoSplit) -> None:
    """AP 0, nothing raised."""
    judged = judge(data, [], "box", 100)
    assert figures(judged, data.labels)["AP"] == 0.0
    assert [matches.average_precision(np.ones(12)) for matches in matches_by_class(judged)] == [0.0, 0.0]
