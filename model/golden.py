"""The golden examples of a bundle: pictures, their licence, and the detections expected of them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from model.datasets import CocoSplit
from model.installed_engines import installed_engines
from service.api.rest.answers import render_answer
from service.app import Service
from service.bundle import Bundle
from service.detections import DetectOptions
from service.engine.precision import Precision
from service.selfcheck import expectations, expected_and_missing
from service.settings import read_settings

GOLDEN_COUNT = 3
FAINT_SCORE = 0.05  # asked for where a picture shows nothing above the bundle's own threshold
_GOLDEN_BYTES, _GOLDEN_OBJECTS = 200_000, range(8, 120)
_BELOW_FP32 = ("bf16", "fp16")
_MOST_UNSURE = 0.25  # of an image's detections: an engine that misses more does not do what the others do
_DRAWN_SIZES = ((240, 320), (320, 240), (256, 256))


def from_dataset(examples: CocoSplit, folder: Path) -> None:
    """Small pictures with neither too few nor too many objects, evenly spread from dark to bright."""
    suitable = [
        examples.image_path(image)
        for image in examples.images
        if examples.image_path(image).stat().st_size <= _GOLDEN_BYTES
        and len(examples.annotations[image["id"]]) in _GOLDEN_OBJECTS
    ] or [examples.image_path(image) for image in examples.images]
    suitable.sort(key=lambda path: (float(np.asarray(Image.open(path).convert("RGB")).mean()), path.name))
    ranks = np.linspace(0, len(suitable) - 1, GOLDEN_COUNT + 1)[1:]  # the very darkest shows little
    from_files([suitable[rank] for rank in sorted({int(rank) for rank in ranks})], folder)


def from_files(paths: Sequence[Path], folder: Path) -> None:
    """The pictures given, numbered in their order."""
    folder.mkdir()
    for number, path in enumerate(paths, start=1):
        shutil.copyfile(path, folder / f"{number}-{path.name}")


def drawn(folder: Path) -> None:
    """Pictures of discs and boxes over soft light: no data needed, the same every time."""
    folder.mkdir()
    for number, (height, width) in enumerate(_DRAWN_SIZES, start=1):
        rng = np.random.default_rng(number)
        light = rng.integers(40, 200, (4, 5, 3)).astype(np.uint8)
        picture = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            centre, radius = (int(rng.integers(width)), int(rng.integers(height))), int(rng.integers(8, 60))
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            if rng.random() < 0.5:
                cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
            else:
                corner = (centre[0] + radius, centre[1] + int(rng.integers(8, 60)))
                cv2.rectangle(picture, centre, corner, colour, -1)
        cv2.imwrite(str(folder / f"{number}-drawn.png"), picture)


async def write_expectations(draft: Path, engine: str = "onnx", precision: Precision = "fp32") -> dict[str, int]:
    """
    Write `<image>.json` beside each golden image: what the exported graphs find in it. -> detections by image.

    Below fp32 it is `<image>.<precision>.json`, which is expected of engines of that precision alone; in fp32 those
    that are there are removed, for they tell of what the bundle was before.

    Where the bundle's own threshold leaves nothing, what is fainter is kept, so that the self-check has something to
    check; the file says which threshold it was.
    """
    asked = read_settings(bundles=str(draft), engine=engine, engine_precision=precision, default_timeout_ms=600_000)
    service = Service(asked)
    await service.load(check=False)
    counts = {}
    try:
        bundle = service.models.get().bundle
        own = bundle.manifest.postprocess.score_threshold
        for name in bundle.golden_images():
            body, threshold = bundle.path(name).read_bytes(), own
            answer = await service.predictor.predict(body, DetectOptions())
            if not len(answer.detections) and own > FAINT_SCORE:
                threshold = FAINT_SCORE
                answer = await service.predictor.predict(body, DetectOptions(score_threshold=threshold))
            rendered = render_answer(answer, "")
            kept = {"image": rendered["image"], "score_threshold": threshold, "detections": rendered["detections"]}
            (draft / expectations(name, precision)).write_text(json.dumps(kept, indent=1) + "\n")
            if precision == "fp32":
                _forget_others(draft, name)
            counts[name] = len(answer.detections)
        return counts
    finally:
        await service.unload()


def keep_what_all_find(bundle: Bundle) -> dict[str, int]:
    """
    Expect in fp32 what every engine installed finds, and no more. -> detections by image.

    For bundles whose graphs are proven on each of them: what one misses then hangs on rounding, as boxes of RoI
    pooling do, and may be missed by the next machine too. Where it misses many, they stay expected, and it will be
    refused. The manifest has to be written again afterwards.
    """
    missed = {name: list[dict[str, Any]]() for name in bundle.golden_images()}
    for _, engine in installed_engines(bundle):
        for name, rows in missed.items():
            rows += expected_and_missing(bundle, engine, name)[1]
    return {name: _without(bundle.path(expectations(name, "fp32")), rows) for name, rows in missed.items()}


def _without(path: Path, rows: list[dict[str, Any]]) -> int:
    kept = json.loads(path.read_bytes())
    if 0 < len(rows) <= _MOST_UNSURE * len(kept["detections"]):
        kept["detections"] = [row for row in kept["detections"] if row not in rows]
        path.write_text(json.dumps(kept, indent=1) + "\n")
    return len(kept["detections"])


def _forget_others(draft: Path, name: str) -> None:
    for precision in _BELOW_FP32:
        (draft / expectations(name, precision)).unlink(missing_ok=True)
