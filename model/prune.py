"""
Structured pruning: the channels whose loss would be felt least are taken out, in all layers that share them.

Felt least by the first-order criterion of Molchanov et al. 2019, *Importance Estimation for Neural Network Pruning*:
(gradient times weight, summed over all weights that write the channel)^2, summed over batches of labelled images.
Channels are compared within their group alone, and every group loses the share asked of it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN

from model.channels import ChannelsInvalid, Group, groups, keep, layer_of, output_axis, widths
from model.checkpoint import Checkpoint
from model.learner import Learner
from model.views import Batch


def prune(
    checkpoint: Checkpoint, shown: Iterable[Batch], ratios: Mapping[str, float], multiple_of: int = 8
) -> Checkpoint:
    """
    checkpoint with a share of each group's channels taken out, as felt on what is shown; ratios as for ratio_of.

    As many stay as a multiple of multiple_of holds: SIMD kernels compute whole blocks. Raises ChannelsInvalid if the
    architecture's channels are not known or a ratio names none of them.
    """
    recipe, model = checkpoint.recipe, checkpoint.build()
    shares = ratio_of(list(widths(model)), ratios)
    felt = importance(_as_trained(checkpoint), shown)
    keep(model, {name: best(values, shares[name], multiple_of) for name, values in felt.items()})
    options = {**recipe.model_options, "widths": widths(model)}
    return replace(checkpoint, recipe=replace(recipe, model_options=options), state=model.state_dict())


def _as_trained(checkpoint: Checkpoint) -> FasterRCNN:
    """The model as it is when its last stage begins: views pass unresized, regions are sampled as there."""
    recipe = checkpoint.recipe
    torch.manual_seed(recipe.seed)
    learner = Learner(recipe, len(checkpoint.labels) + 1, torch.device("cpu"), half_precision=False)
    learner.start_from(checkpoint.state)
    learner.begin_stage(recipe.stages[-1], 1)
    return learner.model.train()


def importance(model: FasterRCNN, shown: Iterable[Batch]) -> dict[str, Tensor]:
    """How much each channel is felt (C,), by group. model is in training; its gradients and running means change."""
    found = groups(model)
    felt = {group.name: torch.zeros(group.width(model)) for group in found}
    for images, targets in shown:
        model.zero_grad()
        torch.stack(list(model(images, targets).values())).sum().backward()
        for group in found:
            felt[group.name] += _first_order(model, group).square()
    return felt


def _first_order(model: FasterRCNN, group: Group) -> Tensor:
    """The change of the loss (C,) if each channel were 0, to first order."""
    change = torch.zeros(group.width(model))
    for name in group.writers:
        layer = layer_of(model, name)
        for weight in layer.parameters():
            if weight.grad is not None:
                effect = weight.detach() * weight.grad
                axis = output_axis(layer) if effect.dim() > 1 else 0
                change += effect.movedim(axis, 0).reshape(len(change), -1).sum(1)
    return change


def best(felt: Tensor, ratio: float, multiple_of: int) -> Tensor:
    """The channels (K,) that stay of felt (C,), in their order: all but ratio of them, made up to a multiple."""
    count = math.ceil(round(len(felt) * (1 - ratio), 6) / multiple_of) * multiple_of
    return felt.topk(min(len(felt), count)).indices.sort().values


def ratio_of(names: list[str], ratios: Mapping[str, float]) -> dict[str, float]:
    """
    The share each group named loses: that of the longest beginning of its name among ratios, "" being all.

    Raises ChannelsInvalid for a beginning that none has, or a ratio outside [0, 1).
    """
    for beginning, ratio in ratios.items():
        if not any(name.startswith(beginning) for name in names):
            raise ChannelsInvalid(f"--ratio {beginning}={ratio}: no channels are named so; known: {', '.join(names)}")
        if not 0 <= ratio < 1:
            raise ChannelsInvalid(f"--ratio {ratio} is not a share of channels; expected 0 or more and less than 1")
    fitting = {name: [beginning for beginning in ratios if name.startswith(beginning)] for name in names}
    return {name: ratios[max(found, key=len)] if found else 0.0 for name, found in fitting.items()}


@torch.no_grad()
def gigaflops(model: FasterRCNN, canvas_hw: tuple[int, int]) -> float:
    """Multiply-adds of trunk, pyramid and RPN head on one canvas, in 10^9: what grows with the picture."""
    counter = FlopCounterMode(display=False)
    with counter:
        model.rpn.head(list(model.backbone(torch.zeros(1, 3, *canvas_hw)).values()))
    return counter.get_total_flops() / 2e9
