"""The seam between RLModules and exported graphs: a plain module from observation to action."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class Actor(Protocol):
    """What a module must offer to be exported."""

    def mean_action(self, observation: Tensor) -> Tensor:
        """Return mean actions ``(n, num_actions)`` for raw policy observations ``(n, size)``."""


class MeanAction(nn.Module):
    """What a robot runs: the raw policy observation in, the clipped mean action out.

    Args:
        actor: The trained module, its normaliser inside.
        size: Width of the observation.
        action_clip: Bound of the actions; the task clips them likewise.
        batch: ``fixed``: the graph takes one observation; ``free``: any number.
    """

    def __init__(self, actor: Actor, *, size: int, action_clip: float, batch: str) -> None:
        super().__init__()
        self.actor = actor
        self.size = size
        self.action_clip = action_clip
        self.fixed = batch == "fixed"
        self.eval()

    def forward(self, observation: Tensor) -> Tensor:
        """Map ``observation (n, size)`` to actions ``(n, num_actions)`` in units of the scale."""
        if self.fixed:
            # In a traced graph this is what refuses another number of rows.
            observation = observation.reshape(1, self.size)
        action = self.actor.mean_action(observation)
        return action.clamp(-self.action_clip, self.action_clip)
