"""
The four systems trained and judged on the same trunk, data and machine.

Seconds are the processor's, on one thread: on a machine that others use too they say more than the clock, which is kept
beside them.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.average_precision import Matches, figures, judge, matches_by_class
from model.classic.assignment import Assignment, Stopwatch
from model.classic.detector import Detect, Found
from model.classic.pretraining import pretrain
from model.classic.proposals.make import resized
from model.classic.proposals.proposals_file import Proposals
from model.classic.proposals.selective_search import selective_search
from model.classic.systems import Shape, System
from model.compare import differences
from model.datasets import CocoSplit, Sample

_MOST = 100  # detections an image, COCO's


@dataclass(frozen=True)
class Prepared:
    """One split as the systems see it: shorter sides resized, proposals in the same pixels."""

    data: CocoSplit
    samples: list[Sample]
    proposals_xyxy: list[NDArray[np.float32]]


@dataclass(frozen=True)
class Plan:
    """How long everything is trained, and on what."""

    shape: Shape
    shorter_px: int  # side that images are resized to
    steps: int
    pretraining_steps: int
    learning_rate: float
    device: torch.device
    seed: int


def prepare(data: CocoSplit, proposals: Proposals, shorter_px: int, most: int) -> Prepared:
    """Read all of data and its proposals, at most `most` an image. Raises ProposalsInvalid."""
    samples, boxes = [], []
    for image, found in zip(data.images, proposals.of(data), strict=True):
        sample = data.load(image, masks=False)
        pixels = resized(sample.image, shorter_px)
        scale_xy = np.array(pixels.shape[1::-1], np.float32) / np.array(sample.image.shape[1::-1], np.float32)
        samples.append(Sample(pixels, sample.boxes_xyxy * np.tile(scale_xy, 2), sample.labels, None))
        boxes.append(found.at_size((pixels.shape[0], pixels.shape[1]))[:most])
    return Prepared(data, samples, boxes)


def pretrained(plan: Plan, train: Prepared, out: Path) -> dict[str, Tensor]:
    """The trunk all begin with, trained once and kept in out / pretrained.pt with its seconds beside it."""
    path = out / "pretrained.pt"
    if not path.is_file():
        torch.manual_seed(plan.seed)
        trunk, watch = plan.shape.make_trunk().to(plan.device), Stopwatch()
        with watch.stage("pretraining"):
            pretrain(
                trunk,
                train.samples,
                len(train.data.labels),
                side_px=plan.shape.square_px,
                steps=plan.pretraining_steps,
                learning_rate=plan.learning_rate,
                seed=plan.seed,
            )
        _keep(path, trunk.state_dict(), {"wall_s": watch.wall_s, "cpu_s": watch.cpu_s})
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def trained(system: System, plan: Plan, train: Prepared, first: Mapping[str, Tensor], out: Path) -> nn.Module:
    """The system from out / <name>.pt if it is there, else trained and kept there with its seconds beside it."""
    path = out / f"{system.name}.pt"
    torch.manual_seed(plan.seed)
    model = system.build(plan.shape, len(train.data.labels)).to(plan.device)
    if path.is_file():
        model.load_state_dict(torch.load(path, map_location=plan.device, weights_only=True))
        return model
    watch = Stopwatch()
    bytes_on_disk = system.train(
        model,
        Assignment(
            samples=train.samples,
            proposals_xyxy=train.proposals_xyxy,
            class_count=len(train.data.labels),
            pretrained=first,
            steps=plan.steps,
            learning_rate=plan.learning_rate,
            folder=out / system.name,
            device=plan.device,
            stopwatch=watch,
            seed=plan.seed,
        ),
    )
    document = {"wall_s": watch.wall_s, "cpu_s": watch.cpu_s, "feature_bytes": bytes_on_disk}
    _keep(path, model.state_dict(), document)
    return model


def _keep(path: Path, state: dict[str, Any], document: dict[str, Any]) -> None:
    """The document first: weights that are there were written whole, with their seconds."""
    path.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


@dataclass(frozen=True)
class Judged:
    """AP of one system and its parts, and every detection matched, class by class."""

    figures: dict[str, Any]
    by_class: list[Matches]


def judged(name: str, detect: Detect, val: Prepared, out: Path, advance: Callable[[], None]) -> Judged:
    """The system named, by its detections in out / <name>-detections.json: what is there is not asked again."""
    path = out / f"{name}-detections.json"
    if not path.is_file():
        path.write_text(json.dumps(detections(detect, val, advance)) + "\n")
    result = judge(val.data, json.loads(path.read_text()), "box", _MOST)
    return Judged(figures(result, val.data.labels), matches_by_class(result))


def detections(detect: Detect, val: Prepared, advance: Callable[[], None]) -> list[dict[str, Any]]:
    """All of val in COCO's results format, boxes in pixels of the image files."""
    category = {index: id for id, index in val.data.class_index.items()}
    rows = []
    for image, sample, proposals in zip(val.data.images, val.samples, val.proposals_xyxy, strict=True):
        found = detect(sample.image, proposals)
        scale = np.tile(np.array([image["width"], image["height"]]) / np.array(sample.image.shape[1::-1]), 2)
        rows += _coco_rows(found, scale, int(image["id"]), category)
        advance()
    return rows


def last_against_others(found: Mapping[str, Judged], val: Prepared) -> dict[str, dict[str, float]]:
    """AP of the last system less that of each other, with the 95 % interval over images (model/compare.py)."""
    *others, last = found
    rows = {}
    for name in others:
        pair = found[last].by_class, found[name].by_class
        all_classes, *_ = differences("box", val.data.labels, *pair, len(val.data.images))
        values = {"AP": all_classes.change, "low": all_classes.low, "high": all_classes.high}
        rows[name] = {key: round(value, 4) for key, value in values.items()}
    return rows


def _coco_rows(
    found: Found, scale: NDArray[np.float64], image_id: int, category: Mapping[int, int]
) -> list[dict[str, Any]]:
    boxes = found.boxes_xyxy * scale
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {"image_id": image_id, "category_id": category[int(label)], "score": float(score), "bbox": box.tolist()}
        for box, score, label in zip(boxes, found.scores, found.labels, strict=True)
    ]


def seconds_an_image(detectors: Mapping[str, Detect], val: Prepared, images: int) -> dict[str, list[float]]:
    """Processor seconds by system, and of fast selective search, image by image, all in turn on each of the first."""
    found: dict[str, list[float]] = {"selective search": [], **{name: [] for name in detectors}}
    for sample, proposals in list(zip(val.samples, val.proposals_xyxy, strict=True))[:images]:
        start = time.process_time()
        selective_search(sample.image, "fast")
        found["selective search"].append(time.process_time() - start)
        for name, detect in detectors.items():
            start = time.process_time()
            detect(sample.image, proposals)
            found[name].append(time.process_time() - start)
    return found


def document_of(
    systems: Sequence[System],
    plan: Plan,
    found: Mapping[str, Judged],
    timed: Mapping[str, list[float]],
    val: Prepared,
    out: Path,
) -> dict[str, Any]:
    """Everything measured, for comparison.json."""
    search_s = float(np.median(timed["selective search"]))
    rows = {}
    for system in systems:
        alone_s = float(np.median(timed[system.name]))
        training = json.loads((out / f"{system.name}.json").read_text())
        rows[system.name] = {
            **training,
            "seconds_an_image": {
                "without_proposals": round(alone_s, 4),
                "with_proposals": round(alone_s + search_s * system.takes_proposals, 4),
            },
            **found[system.name].figures,
        }
    return {
        "trunk": {"name": plan.shape.trunk, "width": plan.shape.width, "batch_norm": plan.shape.batch_norm},
        "hidden": plan.shape.hidden,
        "square_px": plan.shape.square_px,
        "anchor_sides_px": list(plan.shape.anchor_sides_px),
        "image_hw": list(plan.shape.image_hw),
        "steps": plan.steps,
        "learning_rate": plan.learning_rate,
        "pretraining": {"steps": plan.pretraining_steps, **json.loads((out / "pretrained.json").read_text())},
        "selective_search_s": round(search_s, 4),
        "systems": rows,
        f"{systems[-1].name} less the others": last_against_others(found, val),
    }
