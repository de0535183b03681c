"""What a disagreement costs: worse variants of a bundle on labelled images, how they disagree and what AP they lose."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from deploy.judge.proof.candidates import altered, noised, weights_by
from model.average_precision import Matches, judge, matches_by_class
from model.datasets import CocoSplit
from model.evaluate import coco_results
from service.app import Service
from service.bundle import Manifest, Postprocess, read_bundle
from service.detections import Answer, DetectOptions
from service.pairing import pair
from service.settings import read_settings

_RESAMPLES = 300
_IN_FLIGHT = 4
_MOST_DETECTIONS = 400


@dataclass(frozen=True)
class Variant:
    """How a worse bundle is made: parts of its manifest replaced, its detector's weights changed, or both."""

    name: str
    manifest: dict[str, Any]
    weights: Callable[[onnx.ModelProto], None] | None = None


@dataclass(frozen=True)
class Point:
    """One variant beside the bundle: mean disagreement by image, AP lost, and the loss's 95 % interval over images."""

    name: str
    disagreement: float
    ap_loss: float
    low: float
    high: float


def variants(manifest: Manifest) -> list[Variant]:
    """From hardly to badly worse: NMS that lets more duplicates through, higher thresholds, smaller images, noise."""
    post, pre = manifest.postprocess, manifest.preprocess
    made = [
        Variant(f"NMS at IoU {iou:g}", {"postprocess": {"iou_threshold": iou}})
        for iou in (0.6, 0.7, 0.8, 0.9)
        if iou > post.iou_threshold
    ]
    made += [
        Variant(f"score threshold {score:g}", {"postprocess": {"score_threshold": score}})
        for score in (round(post.score_threshold + step, 3) for step in (0.05, 0.1, 0.2, 0.3))
        if score < 1
    ]
    for share in (0.8, 0.6):
        sizes = {"min_size": round(pre.min_size * share), "max_size": round(pre.max_size * share)}
        made.append(Variant(f"images at {share:.0%}", {"preprocess": sizes}))
    made += [
        Variant(f"{amount:.0%} noise on the weights", {}, weights_by(noised(amount))) for amount in (0.02, 0.05, 0.1)
    ]
    return made


def calibrate(bundle: Path, data: CocoSplit, engine: str, folder: Path, done: Callable[[str], None]) -> list[Point]:
    """
    A point for each variant, by rising disagreement. folder: an empty one, for the variants; done is told each name.

    Raises BundleInvalid if the bundle cannot be served.
    """
    source = read_bundle(bundle)
    stable = asyncio.run(_answers(source.root, data, engine))
    done("the bundle itself")
    points = []
    for number, variant in enumerate(variants(source.manifest)):
        root = altered(source.root, folder / str(number), variant.manifest, change=variant.weights)
        candidate = asyncio.run(_answers(root, data, engine))
        points.append(_point(variant.name, stable, candidate, data, source.manifest.postprocess))
        done(variant.name)
    return sorted(points, key=lambda point: point.disagreement)


def margin(points: Sequence[Point], ap_loss: float) -> float | None:
    """
    The disagreement up to which no variant lost more AP than ap_loss; None if the one that disagrees least did.

    At most the largest disagreement seen: beyond it nothing was measured.
    """
    allowed: float | None = None
    for point in sorted(points, key=lambda point: (point.disagreement, -point.ap_loss)):
        if point.ap_loss > ap_loss:
            return allowed
        allowed = point.disagreement
    return allowed


def loss_at(points: Sequence[Point], disagreement: float) -> float | None:
    """The most AP any variant lost that disagrees so much or less; None where none does."""
    return max((point.ap_loss for point in points if point.disagreement <= disagreement), default=None)


async def _answers(bundle: Path, data: CocoSplit, engine: str) -> list[Answer]:
    """As served, thresholds included, in data's order."""
    service = Service(read_settings(bundles=str(bundle), engine=engine, default_timeout_ms=600_000))
    await service.load()
    places = asyncio.Semaphore(_IN_FLIGHT)
    options = DetectOptions(masks="rle" if service.models.get().segments else "none")

    async def ask(image: dict[str, Any]) -> Answer:
        async with places:
            return await service.predictor.predict(data.image_path(image).read_bytes(), options)

    try:
        return await asyncio.gather(*(ask(image) for image in data.images))
    finally:
        await service.unload()


def _point(
    name: str, stable: Sequence[Answer], candidate: Sequence[Answer], data: CocoSplit, spec: Postprocess
) -> Point:
    pairings = (
        pair(
            here.detections,
            there.detections,
            spec.score_threshold,
            class_thresholds=spec.class_score_thresholds,
        )
        for here, there in zip(stable, candidate, strict=True)
    )
    shares = [pairing.disagreement for pairing in pairings]
    images = len(data.images)
    draws = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), _RESAMPLES).astype(np.float64)
    weights = np.vstack([np.ones((1, images)), draws])
    losses = _average_precision(stable, data, weights) - _average_precision(candidate, data, weights)
    low, high = np.nanpercentile(losses[1:], (2.5, 97.5))
    return Point(name, float(np.mean(shares)), float(losses[0]), float(low), float(high))


def _average_precision(answers: Sequence[Answer], data: CocoSplit, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) AP of masks where there are any, else of boxes, for weights (R, N) of the images."""
    images = zip(answers, data.images, strict=True)
    rows = [row for answer, image in images for row in coco_results(answer, image["id"], data)]
    kind = "mask" if any("segmentation" in row for row in rows) else "box"
    classes: list[Matches] = matches_by_class(judge(data, rows, kind, _MOST_DETECTIONS))
    by_class = np.array([[matches.average_precision(draw) for draw in weights] for matches in classes])
    return np.nanmean(by_class[~np.isnan(by_class[:, 0])], axis=0)  # type: ignore[no-any-return]
