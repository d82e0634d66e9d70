"""Building blocks of the networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "tanh": nn.Tanh}


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
        layers: list[nn.Module] = []
        width = inputs
        for size in hidden:
            layers += [nn.Linear(width, size), ACTIVATIONS[activation]()]
            width = size
        super().__init__(*layers, nn.Linear(width, outputs))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(..., inputs)`` to ``(..., outputs)``."""
        *hidden_layers, last = self
        for layer in hidden_layers:
            input = layer(input)
        with torch.autocast(input.device.type, enabled=False):
            output: Tensor = last(input.float())
        return output
