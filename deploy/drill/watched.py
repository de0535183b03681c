"""A bundle whose baseline is what the fake engine says of a hundred pictures, so that only the pictures can drift."""

import asyncio
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.baseline import make_baseline
from service.app import BASELINE, Service
from service.bundle import read_bundle, write_bundle
from service.detections import DetectOptions
from service.settings import read_settings
from service.signals import Observation, observe

PICTURES, SIDE_PX = 100, 128
Picture = NDArray[np.uint8]


def ordinary_pictures(source: Path, seed: int = 0) -> list[Picture]:
    """Crops of the image in source, (SIDE_PX, SIDE_PX, 3) uint8 BGR, each a little brighter or darker."""
    read, chance = cv2.imread(str(source)), random.Random(seed)
    assert read is not None, source
    whole = read.astype(np.uint8)
    height, width = (side - SIDE_PX for side in whole.shape[:2])
    corners = [(chance.randrange(height + 1), chance.randrange(width + 1)) for _ in range(PICTURES)]
    return [lit(whole[top : top + SIDE_PX, left : left + SIDE_PX], chance.gauss(1, 0.1)) for top, left in corners]


def lit(picture: Picture, gain: float) -> Picture:
    """The picture under gain times the light."""
    return np.asarray(np.clip(picture * gain, 0, 255), np.uint8)


def encoded(picture: Picture) -> bytes:
    """As PNG."""
    return bytes(cv2.imencode(".png", picture)[1])


def watched_bundle(source: Path, folder: Path, pictures: Sequence[Picture]) -> Path:
    """A copy of the bundle in source, made in folder, judged on pictures with the fake engine."""
    shutil.copytree(source, folder)
    bundle = read_bundle(folder)
    observations = asyncio.run(_observed(folder, pictures))
    baseline = make_baseline(observations, bundle.manifest.labels)
    (folder / BASELINE).write_text(json.dumps(baseline.as_json()))
    write_bundle(folder, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
    return folder.parent


async def _observed(bundle: Path, pictures: Sequence[Picture]) -> list[Observation]:
    service = Service(read_settings(bundles=str(bundle.parent), engine="fake", drift_images_per_s=0))
    await service.load()
    try:
        images = [cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8) for picture in pictures]
        answers = [await service.predictor.predict(image, DetectOptions()) for image in images]
        return [observe(image, answer.detections) for image, answer in zip(images, answers, strict=True)]
    finally:
        await service.unload()
