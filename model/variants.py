"""Variants of a model to hold side by side: a bundle, its engine and precision, views of each image, another canvas."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from service.api.options import Options
from service.bundle import GRAPHS, Bundle, read_bundle, write_bundle
from service.detections import Augmentation
from service.engine.precision import Precision
from service.errors import InvalidOption
from service.signature import FILE as SIGNATURE_FILE
from service.views import View

_CHOICES = {"engine": ("auto", "onnx", "openvino"), "precision": ("auto", "fp32", "bf16")}
_WISHES = (*_CHOICES, "tta", "scale", "name")
_SCALES = (0.25, 4.0)


class VariantInvalid(ValueError):
    """Text that names no variant; the message says what was expected."""


@dataclass(frozen=True)
class Variant:
    """scale: of the size the bundle brings images to, and of its canvases."""

    name: str
    bundle: Path
    engine: str = "auto"
    tta: tuple[Augmentation, ...] = ()
    scale: float = 1.0
    precision: Precision = "auto"


def parse(text: str) -> Variant:
    """
    `BUNDLE[,engine=onnx|openvino][,precision=fp32|bf16][,tta=flip+scale][,scale=0.8][,name=...]`.

    Raises VariantInvalid.
    """
    folder, *words = text.split(",")
    wishes = dict(word.partition("=")[::2] for word in words)
    if unknown := set(wishes) - set(_WISHES):
        raise VariantInvalid(f"{text}: no {', '.join(sorted(unknown))}; there are {', '.join(_WISHES)}")
    for name, choices in _CHOICES.items():
        if wishes.get(name, "auto") not in choices:
            raise VariantInvalid(f"{text}: expected {name}={'|'.join(choices)}, got {wishes[name]}")
    try:
        scale = float(wishes.get("scale", "1"))
        tta = Options.parse({"tta": wishes.get("tta", "").replace("+", ",")}).to_values().tta
    except (ValueError, InvalidOption) as error:
        raise VariantInvalid(f"{text}: {error}") from error
    if not _SCALES[0] <= scale <= _SCALES[1]:
        raise VariantInvalid(f"{text}: expected a scale from {_SCALES[0]} to {_SCALES[1]}, got {scale:g}")
    engine, precision = wishes.get("engine", "auto"), cast(Precision, wishes.get("precision", "auto"))
    return Variant(wishes.get("name") or _name(folder, words), Path(folder), engine, tta, scale, precision)


def _name(folder: str, words: list[str]) -> str:
    """A version's folder is called by its model's too: `blood-cells/2`."""
    parts = Path(folder).parts
    last = "/".join(parts[-2:]) if parts[-1:] and parts[-1].isdigit() else Path(folder).name
    return " ".join([last, *words])


def at_scale(bundle: Bundle, scale: float, root: Path) -> Bundle:
    """A copy in root that brings images to scale times the size; without golden answers, which are of the old size."""
    left_out = shutil.ignore_patterns("golden", "manifest.json", "metrics.json", "baseline.json", SIGNATURE_FILE)
    shutil.copytree(bundle.root, root, ignore=left_out)
    document = bundle.manifest.model_dump(mode="json", exclude={"files", "schema_version"})
    old = bundle.manifest.preprocess
    document["preprocess"] |= {
        "min_size": max(1, round(old.min_size * scale)),
        "max_size": max(1, round(old.max_size * scale)),
        "canvas_grid": sorted({View(scale=scale).canvas(canvas) for canvas in old.canvas_grid}),
    }
    return write_bundle(root, document)


def graphs_bytes(bundle: Bundle) -> int:
    """What the graphs of a bundle weigh."""
    return sum(bundle.path(name).stat().st_size for name in GRAPHS[bundle.manifest.task])


def prepared(variant: Variant, folder: Path) -> Bundle:
    """The bundle a variant is served from, in folder if one has to be made. Raises BundleInvalid."""
    bundle = read_bundle(variant.bundle)
    return bundle if variant.scale == 1 else at_scale(bundle, variant.scale, folder)
