"""Building blocks of the networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

# In place ELU keeps its result for the backward pass instead of its input: the slope is the result
# plus one, where it would otherwise take the exponential anew, and nothing is allocated.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": partial(nn.ELU, inplace=True),
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
}
"""By name; they may overwrite their input, so only a layer that has no other use for it goes
before one."""


def hidden_layers(inputs: int, hidden: Sequence[int], activation: str) -> list[nn.Module]:
    """Return linear layers of widths ``hidden``, each followed by its activation."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), ACTIVATIONS[activation]()]
        inputs = size
    return layers


class Perceptron(nn.Sequential):
    """A multilayer perceptron with a linear last layer, computed in float32 always.

    Under autocast the hidden layers run in bfloat16; the last one does not, for actions' means and
    values would lose their third digit.

    Args:
        inputs: Width of the input.
        hidden: Widths of the hidden layers.
        outputs: Width of the output.
        activation: One of :data:`ACTIVATIONS`, after every hidden layer.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, activation: str = "elu"
    ) -> None:
        width = hidden[-1] if hidden else inputs
        super().__init__(*hidden_layers(inputs, hidden, activation), nn.Linear(width, outputs))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(..., inputs)`` to ``(..., outputs)``."""
        *before, last = self
        for layer in before:
            input = layer(input)
        with torch.autocast(input.device.type, enabled=False):
            output: Tensor = last(input.float())
        return output
