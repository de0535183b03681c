"""A checkpoint -> a bundle on disk: graphs, golden examples with their detections, licence, manifest."""

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torchvision
from PIL import Image

from model.checkpoint import Checkpoint
from model.datasets import CocoSplit
from model.export import OPSET, export_graphs
from service.api.rest.answers import render_answer
from service.app import Service
from service.bundle import Bundle, write_bundle
from service.detections import DetectOptions
from service.settings import read_settings

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
GOLDEN_COUNT = 3
_GOLDEN_BYTES, _GOLDEN_OBJECTS = 200_000, range(8, 120)


def pack(checkpoint: Checkpoint, version: str, examples: CocoSplit, out_dir: Path) -> Bundle:
    """Write `<out_dir>/<name>/<version>/`; golden images are taken from examples, and its LICENSE if there is one."""
    recipe = checkpoint.recipe
    root = out_dir / recipe.name / version
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        draft = Path(temporary)
        export_graphs(checkpoint.build(), draft, recipe.candidates, IMAGENET_MEAN, IMAGENET_STD)
        _copy_golden(examples, draft)
        _write_licence(recipe.data_source, examples.root / "LICENSE", draft / "LICENSE-golden.txt")
        manifest = _manifest(checkpoint, version)
        write_bundle(draft, manifest)
        asyncio.run(_write_expectations(draft))
        write_bundle(draft, manifest)
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(draft, root)
        root.chmod(0o755)  # the temporary folder was private
    return write_bundle(root, manifest)


def _manifest(checkpoint: Checkpoint, version: str) -> dict[str, Any]:
    recipe = checkpoint.recipe
    segments = recipe.architecture.startswith("maskrcnn")
    return {
        "name": recipe.name,
        "version": version,
        "task": "segmentation" if segments else "detection",
        "architecture": recipe.architecture,
        "labels": list(checkpoint.labels),
        "preprocess": {**recipe.preprocess, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        "postprocess": recipe.postprocess,
        "provenance": {
            "dataset": checkpoint.dataset,
            "trained_with": checkpoint.trained_with,
            "exported_with": {
                "torch": str(torch.__version__),
                "torchvision": torchvision.__version__,
                "onnx": onnx.__version__,
            },
            "opset": OPSET,
            "epochs": recipe.epochs,
            "seed": recipe.seed,
            "weights_stored_as": "fp16",
        },
    }


def _copy_golden(examples: CocoSplit, draft: Path) -> None:
    """Small pictures with neither too few nor too many objects, evenly spread from dark to bright."""
    folder = draft / "golden"
    folder.mkdir()
    paths = [examples.image_path(image) for image in examples.images]
    telling = [
        path
        for path, image in zip(paths, examples.images, strict=True)
        if path.stat().st_size <= _GOLDEN_BYTES and len(examples.annotations[image["id"]]) in _GOLDEN_OBJECTS
    ]
    suitable = telling or paths
    suitable.sort(key=lambda path: (float(np.asarray(Image.open(path).convert("RGB")).mean()), path.name))
    ranks = np.linspace(0, len(suitable) - 1, GOLDEN_COUNT + 1)[1:]  # the very darkest shows little
    for number, rank in enumerate(sorted({int(rank) for rank in ranks}), start=1):
        path = suitable[rank]
        shutil.copyfile(path, folder / f"{number}-{path.name}")


def _write_licence(source: str, licence: Path, target: Path) -> None:
    """Where the golden images come from, and the dataset's own licence text if it has one."""
    text = licence.read_text() if licence.is_file() else ""
    target.write_text("\n\n".join(part for part in (source, text) if part) + "\n")


async def _write_expectations(draft: Path) -> None:
    """Write `<image>.json` beside each golden image: what the exported graphs find in it with the bundle's defaults."""
    settings = read_settings(bundles=str(draft), engine="onnx")
    service = Service(settings)
    await service.load(check=False)
    try:
        bundle = service.models.get().bundle
        for name in bundle.golden_images():
            answer = await service.predictor.predict(bundle.path(name).read_bytes(), DetectOptions())
            rendered = render_answer(answer, "")
            kept = {"image": rendered["image"], "detections": rendered["detections"]}
            (draft / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    finally:
        await service.unload()
