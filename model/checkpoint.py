"""What `rcnn train` leaves behind, and the eager model it stands for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torchvision.models.detection import FasterRCNN

from model.recipes import Recipe
from model.restore import build_for


class CheckpointInvalid(ValueError):
    """A checkpoint that cannot be used; the message says what is missing or does not fit."""


@dataclass(frozen=True)
class Checkpoint:
    recipe: Recipe
    labels: tuple[str, ...]
    dataset: dict[str, Any]
    trained_with: dict[str, str]
    state: dict[str, torch.Tensor]

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


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises CheckpointInvalid if path is not a checkpoint written by `rcnn train`."""
    if not path.is_file():
        raise CheckpointInvalid(f"{path} does not exist; `rcnn train` writes <out>/model.pt")
    document = torch.load(path, map_location="cpu", weights_only=True)
    missing = {"recipe", "labels", "dataset", "trained_with", "state_dict"} - set(document)
    if missing:
        raise CheckpointInvalid(f"{path} is not a checkpoint of `rcnn train`: no {', '.join(sorted(missing))}")
    recipe = Recipe.from_document(document["recipe"])
    return Checkpoint(
        recipe, tuple(document["labels"]), document["dataset"], document["trained_with"], document["state_dict"]
    )
