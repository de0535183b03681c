"""A model and what is to be said of it -> a bundle on disk, proven before it is put in place."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision
from torchvision.models.detection import FasterRCNN

from model import golden
from model.architectures import ARCHITECTURES, trunk_norms
from model.bracket import HALF_ROUNDING, ROUNDING
from model.checkpoint import Checkpoint
from model.classic.fast_rcnn import GivenRegions
from model.datasets import CocoSplit
from model.export import OPSET, export_graphs
from model.installed_engines import installed_engines
from model.parity import NOTHING, Parity, compare
from model.restore import model_options
from service.bundle import Bundle, write_bundle
from service.engine.base import Engine
from service.images import Limits, decode
from service.preprocess import to_canvas

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_LIMITS = Limits(50_000_000, 50_000_000)


class NotProven(ValueError):
    """A bundle whose graphs do not answer as the eager model does; it was not written."""


@dataclass(frozen=True)
class Draft:
    """All a bundle says and does, but for its weights."""

    name: str
    version: str
    architecture: str
    labels: tuple[str, ...]
    options: dict[str, Any]  # of architectures.build
    preprocess: dict[str, Any]  # without mean and std
    postprocess: dict[str, Any]
    candidates: int
    provenance: dict[str, Any]
    keypoints: dict[str, Any] | None = None
    opset: int = OPSET
    half_trunk: bool = False
    licence: str = ""

    def manifest(self, model: FasterRCNN) -> dict[str, Any]:
        """manifest.json without its files."""
        versions = {"torch": str(torch.__version__), "torchvision": torchvision.__version__, "onnx": onnx.__version__}
        norms = trunk_norms(model)
        return {
            "name": self.name,
            "version": self.version,
            "task": ARCHITECTURES[self.architecture].task,
            "architecture": self.architecture,
            "labels": list(self.labels),
            "preprocess": {**self.preprocess, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
            "postprocess": self.postprocess,
            "keypoints": self.keypoints,
            **({"proposals": model.rpn.spec.model_dump(mode="json")} if isinstance(model.rpn, GivenRegions) else {}),
            "provenance": {
                **self.provenance,
                "exported_with": versions,
                "opset": self.opset,
                "trunk": "fp16" if self.half_trunk else "fp32",
                "weights_stored_as": "fp16",
                "build": {"options": self.options, "trunk_eps": norms[0].eps if norms else 1e-5},
            },
        }


@dataclass(frozen=True)
class Packed:
    """A bundle in place, how its graphs compared with eager torchvision by engine, and what its examples show."""

    bundle: Bundle
    parity: dict[str, Parity] = field(default_factory=dict)
    golden_counts: dict[str, int] = field(default_factory=dict)


def pack(checkpoint: Checkpoint, version: str, examples: CocoSplit, out_dir: Path) -> Bundle:
    """Write `<out_dir>/<name>/<version>/`; golden images are taken from examples, and its LICENSE if there is one."""
    recipe, licence = checkpoint.recipe, examples.root / "LICENSE"
    text = licence.read_text() if licence.is_file() else ""
    draft = Draft(
        name=recipe.name,
        version=version,
        architecture=recipe.architecture,
        labels=checkpoint.labels,
        options=model_options(recipe),
        preprocess=recipe.preprocess,
        postprocess=recipe.postprocess,
        candidates=recipe.candidates,
        provenance={
            "dataset": checkpoint.dataset,
            "trained_with": checkpoint.trained_with,
            "epochs": recipe.epochs,
            "seed": recipe.seed,
            **({"teacher": checkpoint.teacher} if checkpoint.teacher else {}),
        },
        licence="\n\n".join(part for part in (recipe.data_source, text) if part),
    )
    return write(draft, checkpoint.build(), lambda folder: golden.from_dataset(examples, folder), out_dir).bundle


def write(draft: Draft, model: FasterRCNN, put_golden: Callable[[Path], None], out_dir: Path) -> Packed:
    """
    Export model, prove the graphs on every engine installed, then put `<out_dir>/<name>/<version>/` in place.

    put_golden fills the folder of golden images. Raises NotProven, with nothing written, if an engine disagrees with
    the eager model, and ValueError if the weights cannot be stored.
    """
    root = out_dir / draft.name / draft.version
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        folder = Path(temporary)
        export_graphs(
            model, folder, draft.candidates, IMAGENET_MEAN, IMAGENET_STD, opset=draft.opset, half_trunk=draft.half_trunk
        )
        put_golden(folder / "golden")
        if draft.licence:
            (folder / "LICENSE-golden.txt").write_text(draft.licence + "\n")
        manifest = draft.manifest(model)
        parity = prove(model, write_bundle(folder, manifest), half_trunk=draft.half_trunk)
        manifest["provenance"]["parity"] = {engine: asdict(result) for engine, result in parity.items()}
        write_bundle(folder, manifest)
        asyncio.run(golden.write_expectations(folder))
        counts = golden.keep_what_all_find(write_bundle(folder, manifest))
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder, root)
        root.chmod(0o755)  # the temporary folder was private
    return Packed(write_bundle(root, manifest), parity, counts)


def prove(model: FasterRCNN, bundle: Bundle, *, half_trunk: bool) -> dict[str, Parity]:
    """
    The graphs of bundle against model on each engine installed: the golden images, each in a batch with its own
    upper left, and nothing but black. Raises NotProven.
    """
    return {name: _prove_on(engine, model, bundle, half_trunk) for name, engine in installed_engines(bundle)}


def _prove_on(engine: Engine, model: FasterRCNN, bundle: Bundle, half_trunk: bool) -> Parity:
    total, tolerance = NOTHING, HALF_ROUNDING if half_trunk else ROUNDING
    for name in [*bundle.golden_images(), None]:
        image = decode(bundle.path(name).read_bytes(), _LIMITS) if name else np.zeros((240, 320, 3), np.uint8)
        canvas, geometry = to_canvas(image, bundle.manifest.preprocess)
        height, width = geometry.resized_hw
        sizes_hw = np.array([(height, width), (max(1, height * 2 // 3), max(1, width * 3 // 4))])
        result = compare(model, engine, bundle, np.stack([canvas, canvas]), sizes_hw, tolerance)
        if result.unmatched:
            raise NotProven(
                f"not written: on {name or 'a black image'}, {result.unmatched} of {result.detections} detections of "
                f"engine {engine.name} are not those of eager torchvision; more --candidates may help"
            )
        total += result
    return total
