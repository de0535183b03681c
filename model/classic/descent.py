"""Stochastic gradient descent with momentum 0.9 and weight decay 0.0005, as the papers of all four systems set it."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from model.learner import trapezoid

_MOMENTUM, _WEIGHT_DECAY, _LONGEST_GRADIENT = 0.9, 5e-4, 10.0
_WARMUP, _DECAY = 0.05, 0.5  # parts of the steps; a line down in place of the papers' one or two drops by ten


def descend(
    parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], steps: int, learning_rate: float
) -> list[float]:
    """Take `steps` steps, each on the loss() of a new batch; the losses. FloatingPointError if one is not finite."""
    trained = list(parameters)
    optimizer = SGD(trained, learning_rate, momentum=_MOMENTUM, weight_decay=_WEIGHT_DECAY)
    schedule = LambdaLR(optimizer, trapezoid(steps, _WARMUP * steps, _DECAY * steps))
    losses = []
    for step in range(steps):
        value = loss()
        if not value.isfinite():
            raise FloatingPointError(f"the loss became {value.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(trained, _LONGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        losses.append(float(value.detach()))
    return losses
