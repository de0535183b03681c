"""Every canvas once before the model serves, on engines whose first run of a shape compiles."""

import numpy as np

from service.bundle import Bundle
from service.detections import NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import Engine
from service.proposals import regions_on_canvas


def warm_up(engine: Engine, bundle: Bundle, batch_sizes: tuple[int, ...]) -> None:
    """Noise through detector and heads on every canvas of bundle, in batches of each size."""
    task = bundle.manifest.task
    everything = NmsOptions(0.0, 1.0, "hard", False, bundle.manifest.postprocess.max_detections, None)
    for height, width in bundle.manifest.preprocess.canvas_grid:
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        regions = regions_on_canvas(bundle.manifest.proposals, (), (height, width), (height, width))
        work = Work(noise, (height, width), everything, task == "segmentation", task == "keypoints", regions=regions)
        for count in batch_sizes:
            detect_batch(engine, [work] * count)
