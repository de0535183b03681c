"""Small labelled pictures drawn for the tests: bright ellipses ("round") and rectangles ("square") on noise."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

NAMES = ("round", "square")


def draw_dataset(root: Path, counts: dict[str, int], size_wh: tuple[int, int] = (96, 64)) -> Path:
    """Write `<root>/<split>.json` and `<root>/images/` with counts[split] pictures of three objects each."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in counts.items():
        document: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES, start=1)],
        }
        for number in range(count):
            file_name = f"{split}-{number}.png"
            picture, rows = _drawn(rng, size_wh)
            cv2.imwrite(str(root / "images" / file_name), picture)
            image = {"id": number, "file_name": file_name, "width": size_wh[0], "height": size_wh[1]}
            document["images"].append(image)
            for row in rows:
                identity = {"id": len(document["annotations"]) + 1, "image_id": number, "iscrowd": 0}
                document["annotations"].append({**row, **identity})
        (root / f"{split}.json").write_text(json.dumps(document))
    return root


def _drawn(rng: np.random.Generator, size_wh: tuple[int, int]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    picture = rng.integers(0, 60, (size_wh[1], size_wh[0], 3), np.uint8)
    rows = []
    for column in range(3):
        kind, width, height = int(rng.integers(2)), int(rng.integers(16, 27)), int(rng.integers(16, 40))
        x, y = 32 * column + int(rng.integers(0, 5)), int(rng.integers(0, size_wh[1] - height))
        shape = np.zeros(picture.shape[:2], np.uint8)
        if kind == 0:
            cv2.ellipse(shape, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
        else:
            shape[y : y + height, x : x + width] = 1
        picture[shape > 0] = (220, 60, 60) if kind else (60, 220, 60)
        runs = coco_mask.encode(np.asfortranarray(shape))
        rows.append(
            {
                "category_id": kind + 1,
                "bbox": [float(value) for value in coco_mask.toBbox(runs)],
                "area": float(shape.sum()),
                "segmentation": {"size": runs["size"], "counts": runs["counts"].decode()},
            }
        )
    return picture, rows
