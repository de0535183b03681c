"""Test-time augmentation by the shipped segmentation model, through the predictor that serves requests."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from service.app import Service
from service.batch_reports import BatchReports
from service.batching import Batcher, Budget
from service.bundle import Bundle
from service.detections import Answer, DetectOptions, RawMask
from service.detector import Found, Work, detect_batch
from service.engine.fake import FakeEngine
from service.errors import InvalidOption
from service.images import Limits, decode
from service.metrics import Metrics
from service.models import ServedModel
from service.predictor import resolve_options
from service.settings import read_settings
from service.tracing import Tracer
from tests.conftest import ZOO

PICTURE = next((ZOO / "nuclei").glob("*/golden/1-*.png"))
BOTH = DetectOptions(tta=("flip", "scale"), masks="raw")


async def asked(pictures: list[NDArray[np.uint8]], options: list[DetectOptions]) -> list[Answer]:
    service = Service(
        read_settings(bundles=str(ZOO / "nuclei"), engine="onnx", engine_threads=1, default_timeout_ms=600_000)
    )
    await service.load(check=False)
    try:
        pairs = zip(pictures, options, strict=True)
        return [await service.predictor.predict(picture, chosen) for picture, chosen in pairs]
    finally:
        await service.unload()


@pytest.fixture(scope="module")
def answers() -> Iterator[list[Answer]]:
    """The picture with both augmentations, its mirror image with both, the picture without any."""
    picture = decode(PICTURE.read_bytes(), Limits(10**7, 10**7))
    mirror = np.ascontiguousarray(picture[:, ::-1])
    yield asyncio.run(asked([picture, mirror, picture], [BOTH, BOTH, DetectOptions(masks="raw")]))


def test_a_picture_and_its_mirror_image_get_the_same_answer(answers: list[Answer]) -> None:
    """Both are seen in the same views: the same scores, boxes and masks, mirrored."""
    here, there = (answer.detections for answer in answers[:2])
    width = here.image_hw[1]
    assert len(here) == len(there) > 20 and here.masks and there.masks
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-4)
    for index in range(len(here)):
        x1, y1, x2, y2 = there.boxes_xyxy[index]
        np.testing.assert_allclose(here.boxes_xyxy[index], [width - x2, y1, width - x1, y2], atol=0.02)
        np.testing.assert_allclose(grid(here.masks[index]), grid(there.masks[index])[:, ::-1], atol=2)


def grid(mask: object) -> NDArray[np.int64]:
    assert isinstance(mask, RawMask)
    return np.frombuffer(mask.probabilities, np.uint8).reshape(mask.size_hw).astype(np.int64)


def test_several_views_find_what_one_finds(answers: list[Answer]) -> None:
    """Nearly every object of the plain answer is in the fused one, close by; the stages are those of any answer."""
    fused, plain = answers[0], answers[2]
    gaps = np.abs(fused.detections.boxes_xyxy[:, None] - plain.detections.boxes_xyxy[None]).max(2).min(0)
    assert np.mean(gaps < 4) > 0.9
    assert set(fused.timings.stages_s) == set(plain.timings.stages_s)
    assert sum(fused.timings.stages_s.values()) <= fused.timings.total_s


def test_an_engine_that_compiles_canvases_is_not_shown_new_ones(toy_bundle: Bundle) -> None:
    """It would stand still for seconds: scales are refused with what to ask for instead, the mirror image is not."""
    engine = FakeEngine(0.0)
    engine.compiles_by_shape = True
    with ThreadPoolExecutor(1) as thread:
        run = partial(detect_batch, engine)
        observer = BatchReports(toy_bundle.id, Metrics().of_model(toy_bundle.id), Tracer())
        model = ServedModel(toy_bundle, engine, Batcher[Work, Found](run, thread, Budget(1, 1), observer))
        with pytest.raises(InvalidOption, match=r"tta: no scale here: the engine fake .* Ask for flip\."):
            resolve_options(BOTH, model)
        resolve_options(DetectOptions(tta=("flip",)), model)
