"""Weights from a file, or from torchvision by name -> an eager model that holds them, or one line saying why not."""

import pickle  # nosec B403  # only its error is named
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.detection import FasterRCNN

from model import architectures
from model.architectures import ARCHITECTURES
from model.checkpoint import CheckpointInvalid

State = dict[str, Tensor]
_WRAPPERS = ("model", "state_dict", "model_state_dict", "ema")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_CLASS_SCORES, _POINTS = (
    "roi_heads.box_predictor.cls_score.weight",
    "roi_heads.keypoint_predictor.kps_score_lowres.weight",
)
_UNCOUNTED = "num_batches_tracked"  # frozen batch norms have none, and nothing served needs it


@dataclass(frozen=True)
class Weights:
    """A state dict in torchvision's names, where it is from, and the class names if its source knows them."""

    state: State
    source: str
    labels: tuple[str, ...] | None = None
    frozen_eps: float | None = None  # of the trunk's batch norms where the source says it

    @property
    def num_classes(self) -> int:
        """Background counted. Raises CheckpointInvalid if there is no box head to count in."""
        if _CLASS_SCORES not in self.state:
            raise CheckpointInvalid(f"{self.source} has no {_CLASS_SCORES}; expected a torchvision two-stage detector")
        return int(self.state[_CLASS_SCORES].shape[0])


def read_file(path: Path) -> Weights:
    """A .pth, .pt or .safetensors file, bare or wrapped. Raises CheckpointInvalid if it holds no state dict."""
    if not path.is_file():
        raise CheckpointInvalid(f"{path} does not exist; expected a .pth or .safetensors file, COCO_V1 or none")
    try:
        if path.suffix == ".safetensors":
            return Weights(_unwrapped(load_file(path), path), str(path))
        document = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        held = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it holds a Python object ({held[1]})" if held else "it cannot be read as one"
        raise CheckpointInvalid(f"{path} is not a state dict: {what}; save model.state_dict()") from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointInvalid(f"{path} is not a checkpoint: {str(error).splitlines()[0]}") from error
    return Weights(_unwrapped(document, path), str(path))


def _unwrapped(document: Any, path: Path) -> State:
    """The state dict inside the usual wrappings, without the usual prefixes."""
    while isinstance(document, Mapping) and not any(isinstance(value, Tensor) for value in document.values()):
        inner = next((document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping)), None)
        if inner is None:
            keys = ", ".join(map(str, list(document)[:4])) or "nothing"
            raise CheckpointInvalid(
                f"{path} holds {keys} but no weights; expected a state dict, or one under {', '.join(_WRAPPERS[:3])}"
            )
        document = inner
    if not isinstance(document, Mapping):
        raise CheckpointInvalid(f"{path} holds a {type(document).__name__}, not a state dict; save model.state_dict()")
    state = {str(name): value for name, value in document.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES * 2:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def download(architecture: str, name: str) -> Weights:
    """torchvision's own weights by enum name. Raises CheckpointInvalid if there are none so named or no internet."""
    if "small" in architecture:
        raise CheckpointInvalid(f"{architecture} has no published weights; give a file")
    offered = get_model_weights(architecture)
    chosen = offered.__members__.get(name.rpartition(".")[2])
    if chosen is None or ("." in name and name.split(".")[0] != offered.__name__):
        raise CheckpointInvalid(f"{architecture} has no weights {name}; it has {', '.join(offered.__members__)}")
    try:
        state = chosen.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointInvalid(
            f"{chosen.url} cannot be downloaded ({error}); fetch it elsewhere and give the file"
        ) from error
    labels = readable_labels(chosen.meta["categories"])
    # torchvision sets this eps for its three oldest checkpoints, trained before its batch norms had one (vision 2933).
    legacy = architecture.endswith("resnet50_fpn") and chosen.name == "COCO_V1"
    return Weights(state, f"{offered.__name__}.{chosen.name}", labels, 0.0 if legacy else 1e-5)


def readable_labels(categories: Sequence[str]) -> tuple[str, ...]:
    """torchvision's categories without the background; each of COCO's unused numbers gets a name of its own."""
    return tuple(
        label if label != "N/A" else f"unused-{number}" for number, label in enumerate(categories[1:], start=1)
    )


def load(architecture: str, weights: Weights, options: dict[str, Any]) -> FasterRCNN:
    """
    architecture built with options, holding weights, in eval mode.

    Raises CheckpointInvalid naming the first key that is missing, unexpected or of another shape, and the architecture
    the weights do fit.
    """
    model = architectures.build(architecture, weights.num_classes, **options)
    problem = misfit(model, weights.state)
    if problem:
        fitting = _fitting(weights, but=architecture)
        hint = f"; they fit {' and '.join(fitting)}" if fitting else ""
        raise CheckpointInvalid(f"{weights.source} does not fit {architecture}: {problem}{hint}")
    bad = next((name for name, value in weights.state.items() if not torch.isfinite(value).all()), None)
    if bad:
        raise CheckpointInvalid(f"{weights.source}: {bad} holds values that are not finite")
    return model.eval()


def misfit(model: nn.Module, state: State) -> str | None:
    """Load state into model; what does not fit, in words, or None."""
    try:
        missing, unexpected = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:
        return str(error).splitlines()[1].strip().rstrip(".")
    missing = [name for name in missing if not name.endswith(_UNCOUNTED)]
    parts = [_first("misses", missing), _first("has the unexpected", unexpected)]
    return ", ".join(part for part in parts if part) or None


def _first(words: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{words} {names[0]}{more}" if names else ""


def _fitting(weights: Weights, but: str) -> list[str]:
    """The other architectures that weights would fit. Nothing is allocated to find out."""
    found = []
    for name in ARCHITECTURES:
        if name == but:
            continue
        with torch.device("meta"):
            model = architectures.build(name, weights.num_classes, **point_options(name, weights))
        expected = {key: value.shape for key, value in model.state_dict().items() if not key.endswith(_UNCOUNTED)}
        given = {key: value.shape for key, value in weights.state.items() if not key.endswith(_UNCOUNTED)}
        if expected == given:
            found.append(name)
    return found


def point_options(architecture: str, weights: Weights | None) -> dict[str, Any]:
    """The keyword that tells a keypoints model how many points its weights find."""
    if ARCHITECTURES[architecture].task != "keypoints" or weights is None or _POINTS not in weights.state:
        return {}
    return {"num_keypoints": int(weights.state[_POINTS].shape[1])}


def is_frozen(weights: Weights) -> bool:
    """Whether the trunk's batch norms were frozen ones."""
    return not any(name.startswith("backbone.body.") and name.endswith(_UNCOUNTED) for name in weights.state)
