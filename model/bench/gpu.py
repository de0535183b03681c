"""
Mask R-CNN R50-FPN at 800 x 1333 on one NVIDIA GPU: is it right, how fast is it, and where does the time go.

    uv sync --extra gpu --extra train; python -m model.bench.gpu --out gpu.json

1. correctness: ONNX Runtime on CUDA against eager torchvision on the same canvases
2. images a second and p95 of the engine in batches of 1 to 32, beside torchvision eager in fp32 and under autocast
3. stages of a batch, and the share of the time in which the GPU had nothing to do (NVML, sampled)
4. the service itself: `rcnn serve` under a closed loop
The floor to argue from: about 270 GFLOP an image.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime as ort
import torch
import typer
from numpy.typing import NDArray
from torchvision.models.detection import FasterRCNN

from loadtests.driver import Target
from loadtests.pictures import read_pictures, resize_to
from loadtests.run import drive
from loadtests.scenarios import closed
from loadtests.serving import serving
from model.bench.subjects import RESNET50, export_resnet50, spread
from model.parity import compare
from service.bundle import Bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import Engine
from service.engine.onnx import OnnxEngine
from service.gpu import GpuUnavailable, read_gpus

CANVAS_HW = (800, 1344)
VALID_HW = (800, 1333)
BATCHES = (1, 2, 4, 8, 16, 32)
NMS = NmsOptions(0.05, 0.5, "hard", False, 100, None)


def main(
    out: Annotated[Path, typer.Option(help="Where the results go, as JSON.")] = Path("gpu.json"),
    seconds: Annotated[float, typer.Option(min=1, help="About how long each measurement takes.")] = 10.0,
) -> None:
    if lacking := _what_is_lacking():
        typer.echo(f"no GPU benchmark here: {lacking}", err=True)
        raise typer.Exit(2)
    with tempfile.TemporaryDirectory(prefix="rcnn-gpu-") as folder:
        model = spread(RESNET50, 91)
        bundle = export_resnet50(model, Path(folder), [CANVAS_HW, (1344, 1344)])
        engine = OnnxEngine(bundle, 4)
        results: dict[str, Any] = {"gpu": read_gpus()[0].__dict__, "parity": _parity(model, engine, bundle)}
        results["engine"] = [_engine_row(engine, batch, seconds) for batch in BATCHES]
        engine.close()
        results["eager fp32"] = [_eager_row(model.cuda(), batch, seconds, torch.float32) for batch in BATCHES]
        results["eager autocast"] = [_eager_row(model.cuda(), batch, seconds, torch.float16) for batch in BATCHES]
        del engine
        results["served"] = _served(bundle, seconds)
    out.write_text(json.dumps(results, indent=2) + "\n")
    typer.echo(json.dumps(results, indent=2))


def _what_is_lacking() -> str | None:
    """Why nothing can be measured here, or None."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return "this onnxruntime has no CUDA; in an environment of its own: uv sync --extra gpu --extra train"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    try:
        read_gpus()
    except GpuUnavailable as error:
        return str(error)
    return None


def _canvases(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    canvases = np.zeros((count, *CANVAS_HW, 3), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (count, *VALID_HW, 3), np.uint8)
    canvases[:, : VALID_HW[0], : VALID_HW[1]] = noise
    return canvases, np.tile(np.array([VALID_HW], np.int64), (count, 1))


def _parity(model: FasterRCNN, engine: Engine, bundle: Bundle) -> dict[str, Any]:
    return dict(compare(model, engine, bundle, *_canvases(2)).__dict__)


def _engine_row(engine: Engine, batch: int, seconds: float) -> dict[str, Any]:
    """Detector, NMS and mask head, with the seconds of each stage."""
    works = [Work(canvas, VALID_HW, NMS, wants_masks=True) for canvas in _canvases(batch)[0]]
    stages: dict[str, list[float]] = {}

    def run() -> None:
        for stage, lasted_s in detect_batch(engine, works)[0].stages_s.items():
            stages.setdefault(stage, []).append(lasted_s)

    row = _timed(run, batch, seconds)
    return row | {"stages_ms": {stage: float(np.median(values)) * 1e3 for stage, values in stages.items()}}


@torch.inference_mode()
def _eager_row(model: FasterRCNN, batch: int, seconds: float, dtype: torch.dtype) -> dict[str, Any]:
    images = [torch.rand(3, *VALID_HW, device="cuda") for _ in range(batch)]

    def run() -> None:
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            model(images)
        torch.cuda.synchronize()

    return _timed(run, batch, seconds)


def _timed(run: Callable[[], None], batch: int, seconds: float) -> dict[str, Any]:
    """Throughput, latency and the GPU's idle share over about `seconds`, after three runs to warm up."""
    for _ in range(3):
        run()
    lasted_s: list[float] = []
    with _Busy() as busy:
        while sum(lasted_s) < seconds:
            start = time.perf_counter()
            run()
            lasted_s.append(time.perf_counter() - start)
    p50, p95 = (float(np.percentile(lasted_s, q)) * 1e3 for q in (50, 95))
    rate = batch * len(lasted_s) / sum(lasted_s)
    return {"batch": batch, "images_per_s": rate, "p50_ms": p50, "p95_ms": p95, "idle_share": busy.idle_share()}


class _Busy:
    """Samples NVML's utilisation (the share of its last period in which a kernel ran) until the block ends."""

    def __enter__(self) -> "_Busy":
        self._samples: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.1):
            if (busy_ratio := read_gpus()[0].utilization_ratio) is not None:
                self._samples.append(busy_ratio)

    def idle_share(self) -> float:
        return 1 - float(np.mean(self._samples or [0.0]))


def _served(bundle: Bundle, seconds: float, concurrency: Sequence[int] = (1, 8, 32, 64)) -> list[dict[str, Any]]:
    """JPEGs of 800 x 1333 over REST, each number of callers waiting for its answers."""
    pictures = resize_to(read_pictures(None)[:1], [(VALID_HW[1], VALID_HW[0])])
    settings = {"bundles": bundle.root, "engine": "onnx", "max_batch_size": 32, "max_batch_megapixels": 40}
    rows = []
    with serving(settings | {"prepare_threads": 8}) as service:
        for callers in concurrency:
            requests = max(callers * 4, int(seconds * 20))
            samples = drive(closed(Target(service.url), pictures, requests, callers, 0), lambda _: None)
            good = [sample for sample in samples if sample.is_ok]
            lasted_s = max(sample.done_s for sample in samples)
            p95 = float(np.percentile([sample.latency_ms for sample in good], 95)) if good else None
            row = {"callers": callers, "images_per_s": len(good) / lasted_s, "p95_ms": p95, "of": len(samples)}
            rows.append(row | {"good": len(good)})
    return rows


if __name__ == "__main__":
    typer.run(main)
