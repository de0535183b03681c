"""One decoded image to its detections with masks, by each of several ways, taking turns."""

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from PIL import Image

from model.bench.subjects import Subject, subject
from model.quantise import Quantiser
from service.bundle import Bundle, write_bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import Engine, EngineOptions
from service.engine.cpu import cpu_features, has_bf16
from service.engine.onnx import OnnxEngine
from service.engine.openvino import OpenVinoEngine
from service.engine.threads import available_cpus
from service.postprocess.masks import encode
from service.preprocess import to_canvas
from service.signature import FILE as SIGNATURE_FILE

_MOST_MASK_BYTES = 1 << 30


def measure(name: str, rounds: int) -> dict[str, Any]:
    """{"model", "threads", "detections", "seconds": {way: [one a round]}}; the first run of each is left out."""
    threads = available_cpus()
    torch.set_num_threads(threads)
    with ExitStack() as stack:
        measured = stack.enter_context(subject(name))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rcnn-bench-")))
        ways = _ways(measured, threads, folder)
        found = {way: run() for way, run in ways.items()}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(rounds):
            for way in list(ways) if turn % 2 == 0 else reversed(list(ways)):
                start = time.perf_counter()
                ways[way]()
                seconds[way].append(time.perf_counter() - start)
    return {"model": name, "threads": threads, "detections": found, "seconds": seconds}


def _ways(measured: Subject, threads: int, folder: Path) -> dict[str, Callable[[], int]]:
    """Each gives the number of detections."""
    bundle = measured.bundle
    ways = {
        "torchvision eager": _eager(measured),
        "torchvision's export, ONNX Runtime": _stock_export(measured, threads, folder / "stock.onnx"),
        "ours, ONNX Runtime": _ours(measured, OnnxEngine(bundle, threads)),
        "ours, OpenVINO": _ours(measured, OpenVinoEngine(bundle, threads, EngineOptions("fp32"))),
    }
    int8 = _int8(measured, folder)
    ways["ours, OpenVINO int8"] = _ours(measured, OpenVinoEngine(int8, threads, EngineOptions("fp32")))
    if has_bf16(cpu_features()):
        half = EngineOptions("bf16")
        ways["ours, OpenVINO bf16"] = _ours(measured, OpenVinoEngine(bundle, threads, half))
        ways["ours, OpenVINO int8, the rest bf16"] = _ours(measured, OpenVinoEngine(int8, threads, half))
    return ways


def _int8(measured: Subject, folder: Path) -> Bundle:
    """As `rcnn quantise` makes it, but calibrated on the measured image alone: fit for timing, judged by nobody."""
    bundle, draft, picture = measured.bundle, folder / "int8", folder / "image.png"
    Image.fromarray(measured.image).save(picture)
    shutil.copytree(bundle.root, draft, ignore=shutil.ignore_patterns("manifest.json", SIGNATURE_FILE))
    quantiser = Quantiser(bundle, [picture], "minmax", folder, symmetric=True)
    quantiser.write(draft / "detector.onnx")
    quantiser.write_mask_head(draft / "mask_head.onnx")
    return write_bundle(draft, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))


def _eager(measured: Subject) -> Callable[[], int]:
    @torch.inference_mode()
    def run() -> int:
        image = _as_tensor(measured)
        return len(measured.model([image])[0]["boxes"])

    return run


def _as_tensor(measured: Subject) -> torch.Tensor:
    """As torchvision's models take an image: float32 (3, H, W) in [0, 1]."""
    return torch.from_numpy(measured.image.copy()).permute(2, 0, 1).float() / 255


def _stock_export(measured: Subject, threads: int, path: Path) -> Callable[[], int]:
    """The whole model by torch.onnx.export, as torchvision documents it."""
    image = _as_tensor(measured)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of every Python value the tracer turns into a constant
        torch.onnx.export(measured.model, ([image],), str(path), dynamo=False, opset_version=17, input_names=["image"])
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    pixels = image.numpy()
    return lambda: len(session.run(None, {"image": pixels})[0])


def _ours(measured: Subject, engine: Engine) -> Callable[[], int]:
    """What a request goes through between decoding and the answer, masks as run lengths."""
    manifest = measured.bundle.manifest
    defaults = manifest.postprocess
    nms = NmsOptions(defaults.score_threshold, defaults.iou_threshold, "hard", False, defaults.max_detections, None)

    def run() -> int:
        canvas, geometry = to_canvas(measured.image, manifest.preprocess)
        (found,) = detect_batch(engine, [Work(canvas, geometry.resized_hw, nms, manifest.task == "segmentation")])
        boxes = geometry.to_image_pixels(found.picked.boxes_xyxy)
        if found.probabilities is not None:
            encode("rle", found.probabilities, boxes, geometry.image_hw, _MOST_MASK_BYTES)
        return len(boxes)

    return run
