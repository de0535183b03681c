"""Variants of a model on the same labelled images: what each finds, how long it takes, what it weighs."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from model.datasets import CocoSplit
from model.evaluate import evaluate
from model.variants import Variant, graphs_bytes, prepared
from service.app import Service
from service.bundle import Bundle
from service.detections import DetectOptions
from service.settings import read_settings

_PATIENCE_MS = 600_000


@dataclass(frozen=True)
class Outcome:
    """One variant, judged. AP of masks where there are masks, else of boxes; None where there is no truth."""

    name: str
    engine: str
    precision: str
    kind: str
    ap: float
    ap50: float
    by_size: dict[str, float | None]
    by_class: dict[str, float | None]
    latency_ms: float  # median over all images and rounds, decoding to answer
    ratio: float  # of its latency to that of the first variant
    graphs_mb: float


async def hold_side_by_side(
    variants: Sequence[Variant], data: CocoSplit, timed_images: int, rounds: int, progress: Progress
) -> list[Outcome]:
    """
    Every variant judged on all of data, then timed on timed_images of it, one request at a time, in turns.

    Raises BundleInvalid, DatasetInvalid or InvalidOption where a variant cannot be asked.
    """
    with tempfile.TemporaryDirectory() as temporary:
        bundles = [prepared(variant, Path(temporary) / str(index)) for index, variant in enumerate(variants)]
        pairs = list(zip(variants, bundles, strict=True))
        found = [(await evaluate(b.root, data, v.engine, progress, v.tta, v.precision)).metrics for v, b in pairs]
        bodies = [data.image_path(image).read_bytes() for image in data.evenly(timed_images).images]
        latencies_s = np.median(await _latencies_s(pairs, bodies, rounds, progress), axis=(0, 1))
        return [
            _outcome(variant, bundle, metrics, latency_s, latencies_s[0])
            for (variant, bundle), metrics, latency_s in zip(pairs, found, latencies_s.tolist(), strict=True)
        ]


async def _latencies_s(
    pairs: Sequence[tuple[Variant, Bundle]], bodies: Sequence[bytes], rounds: int, progress: Progress
) -> NDArray[np.float64]:
    """Seconds by round, image and variant. The order of variants turns with every image; a first round is left out."""
    seconds = np.empty((rounds + 1, len(bodies), len(pairs)))
    task = progress.add_task("taking turns", total=seconds.size)
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(_serving(v, b)) for v, b in pairs]
        for turn in range(rounds + 1):
            for row, body in enumerate(bodies):
                order = range(len(pairs)) if (turn + row) % 2 else reversed(range(len(pairs)))
                for column in order:
                    options = DetectOptions(masks=_masks(pairs[column][1]), tta=pairs[column][0].tta)
                    answer = await services[column].predictor.predict(body, options)
                    seconds[turn, row, column] = answer.timings.total_s
                    progress.update(task, advance=1)
    return seconds[1:]


@asynccontextmanager
async def _serving(variant: Variant, bundle: Bundle) -> AsyncIterator[Service]:
    asked: dict[str, Any] = {
        "bundles": str(bundle.root),
        "engine": variant.engine,
        "engine_precision": variant.precision,
    }
    service = Service(read_settings(**asked, default_timeout_ms=_PATIENCE_MS))
    await service.load()
    try:
        yield service
    finally:
        await service.unload()


def _masks(bundle: Bundle) -> Any:
    return "rle" if bundle.manifest.task == "segmentation" else "none"


def _outcome(variant: Variant, bundle: Bundle, metrics: dict[str, Any], latency_s: float, first_s: float) -> Outcome:
    kind = "mask" if "mask" in metrics else "box"
    whole = metrics[kind]
    return Outcome(
        name=variant.name,
        engine=metrics["engine"],
        precision=metrics["precision"],
        kind=kind,
        ap=whole["AP"],
        ap50=whole["AP50"],
        by_size=whole["by_size"],
        by_class={label: row["AP"] for label, row in whole["by_class"].items()},
        latency_ms=round(latency_s * 1e3, 1),
        ratio=round(latency_s / first_s, 3),
        graphs_mb=round(graphs_bytes(bundle) / 1e6, 1),
    )


def on_the_front(outcomes: Sequence[Outcome]) -> list[bool]:
    """Whether no other is at least as quick and as good, and better in one of the two."""
    return [
        not any(
            other.latency_ms <= one.latency_ms
            and other.ap >= one.ap
            and (other.latency_ms, other.ap) != (one.latency_ms, one.ap)
            for other in outcomes
        )
        for one in outcomes
    ]
