"""What `rcnn train` leaves behind, and the eager model it stands for."""

import pickle  # nosec B403  # only its error is named
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torchvision.models.detection import FasterRCNN

from model.recipes import RECIPES, Recipe
from model.restore import build_for, restore
from service.bundle import Bundle, read_bundle


class CheckpointInvalid(ValueError):
    """A checkpoint that cannot be used; the message says what is missing or does not fit."""


@dataclass(frozen=True)
class Checkpoint:
    recipe: Recipe
    labels: tuple[str, ...]
    dataset: dict[str, Any]
    trained_with: dict[str, str]
    state: dict[str, torch.Tensor]
    teacher: dict[str, Any] | None = None  # who it learned from besides the labels, and with which weights

    def build(self) -> FasterRCNN:
        """The trained eager model, in eval mode."""
        recipe = self.recipe
        model = build_for(recipe, len(self.labels) + 1)
        try:
            model.load_state_dict(self.state)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointInvalid(f"the weights do not fit {recipe.architecture}: {first}") from error
        return model.eval()

    def truncated(self, ranks: tuple[int, int]) -> "Checkpoint":
        """
        With the two fully connected layers of a classic detector as two of these ranks each, by singular values.

        Raises CheckpointInvalid for other architectures, and ranks the layers do not have.
        """
        recipe = self.recipe
        if not recipe.architecture.startswith("classic_") or "svd_ranks" in recipe.model_options:
            raise CheckpointInvalid(f"{recipe.architecture} has no whole fully connected layers to truncate")
        model = self.build()
        try:
            model.roi_heads.box_head.truncate(*ranks)
        except ValueError as error:
            raise CheckpointInvalid(str(error)) from error
        options = {**recipe.model_options, "svd_ranks": list(ranks)}
        return replace(self, recipe=replace(recipe, model_options=options), state=model.state_dict())


def save(path: Path, state: dict[str, Any]) -> None:
    """torch.save, whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)  # a kill while writing leaves the last whole one


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """The inverse of read_checkpoint; path's folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "state_dict": checkpoint.state,
        "recipe": asdict(checkpoint.recipe),
        "labels": list(checkpoint.labels),
        "dataset": checkpoint.dataset,
        "trained_with": checkpoint.trained_with,
        "teacher": checkpoint.teacher,
    }
    save(path, document)


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises CheckpointInvalid if path is not a checkpoint written by `rcnn train`."""
    if not path.is_file():
        raise CheckpointInvalid(f"{path} does not exist; `rcnn train` writes <out>/model.pt")
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointInvalid(f"{path} is not a checkpoint: {str(error).splitlines()[0]}") from error
    missing = {"recipe", "labels", "dataset", "trained_with", "state_dict"} - set(document)
    if missing:
        raise CheckpointInvalid(f"{path} is not a checkpoint of `rcnn train`: no {', '.join(sorted(missing))}")
    try:
        recipe = Recipe.from_document(document["recipe"])
    except (KeyError, TypeError) as error:
        raise CheckpointInvalid(f"{path} holds a recipe of another version of rcnn: {error}; train it anew") from error
    return Checkpoint(
        recipe,
        tuple(document["labels"]),
        document["dataset"],
        document["trained_with"],
        document["state_dict"],
        document.get("teacher"),
    )


def restored(bundle: Bundle) -> FasterRCNN:
    """The eager model of a bundle. Raises CheckpointInvalid if its graphs no longer hold the trained weights."""
    try:
        return restore(bundle)
    except KeyError as error:
        raise CheckpointInvalid(f"{error.args[0]}; give the bundle it was made of") from error


def from_bundle(root: Path, recipe: Recipe | None) -> Checkpoint:
    """
    A bundle's weights (rounded to fp16) with the recipe given, or the shipped one of its name.

    Raises CheckpointInvalid if there is none or it is of another architecture, ServiceError if root is no bundle.
    """
    bundle = read_bundle(root)
    manifest = bundle.manifest
    recipe = recipe or RECIPES.get(manifest.name)
    if recipe is None:
        raise CheckpointInvalid(f"{root} does not hold the recipe of its training; give it by --recipe recipe.json")
    if recipe.architecture != manifest.architecture:
        raise CheckpointInvalid(
            f"{root} is a {manifest.architecture}, recipe {recipe.name} is of {recipe.architecture}"
        )
    built = manifest.provenance.get("build", {"options": {}})["options"]
    options = recipe.model_options | {name: built[name] for name in ("widths",) if name in built}
    told = {name: manifest.provenance.get(name, {}) for name in ("dataset", "trained_with")}
    state = restored(bundle).state_dict()
    return Checkpoint(replace(recipe, model_options=options), manifest.labels, **told, state=state)
