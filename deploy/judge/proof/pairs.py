"""Real pairs: a stable bundle and each candidate asked the same real images, through the path that serves them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.judge.proof.faulty import hurt
from deploy.judge.side_by_side import work_s
from model.average_precision import figures, judge
from model.datasets import CocoSplit
from model.evaluate import coco_results
from service.app import Service
from service.detections import Answer, DetectOptions
from service.pairing import pair
from service.settings import read_settings


@dataclass(frozen=True)
class Release:
    """One candidate: a bundle and how it is run. slower: seconds slept for each second its engine works."""

    name: str
    bundle: Path
    harmless: bool
    settings: tuple[tuple[str, Any], ...] = ()
    slower: float = 0.0
    error_rate: float = 0.0  # of images it fails on, drawn when rollouts are


@dataclass(frozen=True)
class Pairs:
    """What one candidate did on N images: arrays (N,), and AP of what was served, its own and the stable one's."""

    release: Release
    outcomes: tuple[str, ...]
    disagreement: np.ndarray[Any, np.dtype[np.float64]]
    slowdown: np.ndarray[Any, np.dtype[np.float64]]
    objects: np.ndarray[Any, np.dtype[np.float64]]  # found by the candidate
    stable_objects: np.ndarray[Any, np.dtype[np.float64]]
    ap_change: float


async def collect(stable: Path, releases: Sequence[Release], data: CocoSplit) -> list[Pairs]:
    """Every release asked beside the stable bundle, image by image in turn; on ONNX Runtime unless it says more."""
    found = []
    for release in releases:
        start = time.perf_counter()
        sides = [await _serve(stable, ()), await _serve(release.bundle, release.settings, release.slower)]
        try:
            found.append(await _paired(sides, release, data))
        finally:
            for service in sides:
                await service.unload()
        seconds = time.perf_counter() - start
        shares = found[-1].disagreement
        print(f"{release.name}: disagreement {shares.mean():.4f}, AP {found[-1].ap_change:+.4f}, {seconds:.0f} s")
    return found


async def _serve(bundle: Path, settings: Sequence[tuple[str, Any]], slower: float = 0.0) -> Service:
    chosen = {"engine": "onnx", **dict(settings), "bundles": str(bundle), "default_timeout_ms": 600_000}
    service = Service(read_settings(**chosen))
    await service.load()
    if slower:
        hurt(service.models.get().engine, slower, 0.0)
    return service


async def _paired(sides: Sequence[Service], release: Release, data: CocoSplit) -> Pairs:
    spec = sides[0].models.get().bundle.manifest.postprocess
    options = DetectOptions(masks="rle" if sides[0].models.get().segments else "none")
    answers: list[tuple[Answer, Answer]] = []
    for number, image in enumerate([data.images[0], *data.images]):
        body, both = data.image_path(image).read_bytes(), {}
        for side in (0, 1) if number % 2 else (1, 0):
            both[side] = await sides[side].predictor.predict(body, options)
        answers.append((both[0], both[1]))
    answers = answers[1:]
    by_class = spec.class_score_thresholds
    pairings = [
        pair(here.detections, there.detections, spec.score_threshold, class_thresholds=by_class)
        for here, there in answers
    ]
    return Pairs(
        release,
        tuple(pairing.outcome for pairing in pairings),
        np.array([pairing.disagreement for pairing in pairings]),
        np.array([work_s(there) / work_s(here) for here, there in answers]),
        np.array([len(there.detections) for _, there in answers], np.float64),
        np.array([len(here.detections) for here, _ in answers], np.float64),
        _served_ap([there for _, there in answers], data) - _served_ap([here for here, _ in answers], data),
    )


def _served_ap(answers: Sequence[Answer], data: CocoSplit) -> float:
    """AP of masks where there are any, else of boxes, of the answers as they were served, thresholds included."""
    images = zip(answers, data.images, strict=True)
    rows = [row for answer, image in images for row in coco_results(answer, image["id"], data)]
    kind = "mask" if any("segmentation" in row for row in rows) else "box"
    return float(figures(judge(data, rows, kind, 400), data.labels)["AP"] or 0.0)


def collected(stable: Path, releases: Sequence[Release], data: CocoSplit) -> list[Pairs]:
    return asyncio.run(collect(stable, releases, data))
