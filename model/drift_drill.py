"""
What a model sees and says of its own validation images, and of the same made worse: the ground of the drift tests.

    python -m model.drift_drill BUNDLE DATASET --other DATASET --out FILE.json.gz
"""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from model.datasets import CocoSplit, read_dataset
from service.app import Service
from service.detections import DetectOptions
from service.images import decode
from service.settings import read_settings
from service.signals import observe

Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
CHANGES: dict[str, Change] = {
    "same": lambda image: image,
    "brighter": lambda image: np.clip(image * 1.3, 0, 255).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2.0), np.uint8),
}


async def drill(bundle: Path, data: CocoSplit, other: CocoSplit) -> dict[str, list[dict[str, list[float]]]]:
    """By condition, the signals of each image, as they are observed in service."""
    service = Service(read_settings(bundles=str(bundle), default_timeout_ms=600_000))
    await service.load()
    try:
        found = {name: await _all(service, data, change) for name, change in CHANGES.items()}
        return {**found, "other": await _all(service, other, CHANGES["same"])}
    finally:
        await service.unload()


async def _all(service: Service, data: CocoSplit, change: Change) -> list[dict[str, list[float]]]:
    rows = []
    for row in data.images:
        image = change(decode(data.image_path(row).read_bytes(), service.image_limits))
        answer = await service.predictor.predict(image, DetectOptions())
        values = observe(image, answer.detections).values
        rows.append({signal: [round(float(v), 4) for v in row] for signal, row in values.items()})
    return rows


def main(
    bundle: Path,
    dataset: Path,
    other: Annotated[Path, typer.Option(help="Images of another kind.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    split: Annotated[str, typer.Option()] = "val",
) -> None:
    found = asyncio.run(drill(bundle, read_dataset(dataset, split), read_dataset(other, split)))
    out.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":")).encode(), mtime=0))
    for name, rows in found.items():
        typer.echo(f"{name}: {len(rows)} images")


if __name__ == "__main__":
    typer.run(main)
