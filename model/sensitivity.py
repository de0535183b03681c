"""Which layers cost most in int8: each by itself, by how far the answers to a few images move."""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.progress import Progress

from model.quantise import Layers
from model.quantise_inputs import canvases
from service.bundle import Bundle, write_bundle
from service.detections import Detections, NmsOptions
from service.detector import Work, detect_batch
from service.engine.base import EngineOptions
from service.engine.choice import EngineName, create_engine
from service.engine.threads import available_cpus
from service.pairing import pair
from service.signature import FILE as SIGNATURE_FILE

_SCORE_FLOOR = 0.25  # fainter objects come and go by themselves


class AnyQuantiser(Protocol):
    """A bundle's detector, written in int8 as often as plans are tried."""

    @property
    def layers(self) -> Layers:
        """What may run in int8."""

    def write(self, target: Path, left_out: Collection[str] = ()) -> tuple[str, ...]:
        """All layers in int8 that may be and are not in left_out; their names."""


@dataclass(frozen=True)
class Sensitivity:
    """moved: mean over objects of score change and 1 - IoU; 1 for one that went or came."""

    layer: str
    moved: float


def plans(ranked: Callable[[], Sequence[Sensitivity]]) -> Iterator[tuple[str, ...]]:
    """
    What to leave out of int8, one try after the other: nothing, the layer that costs most, two, four, never all.

    ranked is asked only if the first is not the last.
    """
    yield ()
    ranking, count = ranked(), 1
    while count < len(ranking):
        yield tuple(one.layer for one in ranking[:count])
        count *= 2


def by_layer(
    quantiser: AnyQuantiser, bundle: Bundle, paths: Sequence[Path], engine: EngineName, folder: Path, progress: Progress
) -> list[Sensitivity]:
    """
    Every layer that may run in int8, the one that moves the answers to paths most first; all others stay fp32.

    A proxy: outputs of a detector are sorted and cut, so that signal to noise of its tensors says little, and AP of
    every layer would take the whole split each time.
    """
    draft = folder / "one-layer"
    shutil.copytree(bundle.root, draft, ignore=shutil.ignore_patterns("manifest.json", "golden", SIGNATURE_FILE))
    truth = _answers(bundle, paths, engine)
    found, task = [], progress.add_task("one layer at a time", total=len(quantiser.layers.int8))
    for layer in quantiser.layers.int8:
        quantiser.write(draft / "detector.onnx", set(quantiser.layers.int8) - {layer})
        made = write_bundle(draft, bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"}))
        pairs = zip(truth, _answers(made, paths, engine), strict=True)
        found.append(Sensitivity(layer, float(np.mean([_moved(before, after) for before, after in pairs]))))
        progress.update(task, advance=1)
    return sorted(found, key=lambda one: -one.moved)


def _answers(bundle: Bundle, paths: Sequence[Path], name: EngineName) -> list[Detections]:
    """What the engine finds in each image, in pixels of its canvas."""
    engine = create_engine(name, bundle, available_cpus(), EngineOptions(precision="fp32"), 0.0, lambda _: None)
    labels, defaults = bundle.manifest.labels, bundle.manifest.postprocess
    nms = NmsOptions(_SCORE_FLOOR, defaults.iou_threshold, "hard", False, defaults.max_detections, None)
    answers = []
    for canvas, size_hw in canvases(bundle, paths):
        picked = detect_batch(engine, [Work(canvas, size_hw, nms, False)])[0].picked
        names = tuple(labels[label_id - 1] for label_id in picked.label_ids)
        answers.append(Detections(canvas.shape[:2], picked.boxes_xyxy, picked.scores, picked.label_ids, names))
    engine.close()
    return answers


def _moved(before: Detections, after: Detections) -> float:
    pairing = pair(before, after, _SCORE_FLOOR)
    drift = sum(abs(match.score_change) + 1 - match.box_iou for match in pairing.matches)
    objects = len(pairing.matches) + len(pairing.missed) + len(pairing.extra)
    return (drift + len(pairing.missed) + len(pairing.extra)) / max(objects, 1)
