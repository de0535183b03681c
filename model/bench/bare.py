"""The engine alone in a loop over the golden images, decoded and laid out beforehand: what a served rate is held to."""

import itertools
import time
from pathlib import Path

from service.bundle import Bundle, read_bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.threads import available_cpus
from service.images import Limits, decode
from service.preprocess import to_canvas

_LIMITS = Limits(50_000_000, 50_000_000)


class Bare:
    """Batches of equal canvases, as large as they get, through detector and NMS."""

    def __init__(self, root: Path, engine: str, batch: int) -> None:
        bundle = read_bundle(root)
        name: EngineName = "openvino" if engine == "openvino" else "onnx"
        self._engine = create_engine(name, bundle, available_cpus(), EngineOptions(), 0.0, lambda _: None)
        by_canvas: dict[tuple[int, int], list[Work]] = {}
        for image in bundle.golden_images():
            work = _work(bundle, image)
            by_canvas.setdefault((work.canvas.shape[0], work.canvas.shape[1]), []).append(work)
        # Every image equally often, as the load test sends them.
        self._batches = [
            list(itertools.islice(itertools.cycle(works), batch)) for works in by_canvas.values() for _ in works
        ]
        for works in self._batches:
            detect_batch(self._engine, works)

    def images_per_s(self, seconds: float) -> float:
        """Over whole rounds through all batches, at least `seconds` long."""
        start, images = time.perf_counter(), 0
        while (passed_s := time.perf_counter() - start) < seconds or not images:
            for works in self._batches:
                images += len(detect_batch(self._engine, works))
        return images / passed_s


def _work(bundle: Bundle, image: str) -> Work:
    canvas, geometry = to_canvas(decode(bundle.path(image).read_bytes(), _LIMITS), bundle.manifest.preprocess)
    defaults = bundle.manifest.postprocess
    nms = NmsOptions(defaults.score_threshold, defaults.iou_threshold, "hard", False, defaults.max_detections, None)
    return Work(canvas, geometry.resized_hw, nms, wants_masks=False)
