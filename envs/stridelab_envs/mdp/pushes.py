"""Pushes that last: for some steps a random velocity is added to the base's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stridelab_envs.physics import Simulation


class Push:
    """The pushes in progress.

    In each of its steps a push draws a velocity afresh and adds it to the base's own; what the step
    before has added is taken off again. So the base stays within the push's limits of the velocity
    it would have, however long the push lasts, and keeps the last draw.

    Args:
        sim: The simulations.
        columns: Columns of the free joint in ``qvel``.
        generator: Source of random numbers.
    """

    def __init__(self, sim: Simulation, columns: slice, generator: torch.Generator) -> None:
        self._sim = sim
        self._start = columns.start
        self._generator = generator
        self.steps = 0.0
        """Control steps made so far, which tell how far pushes have grown."""
        self.velocity = torch.zeros(sim.num_envs, 5)
        """Horizontal [m/s, world frame] and angular velocity [rad/s, body frame] added,
        ``(num_envs, 5)``."""
        self._left = torch.zeros(sim.num_envs, dtype=torch.long)
        self._limit = torch.zeros(sim.num_envs, 5)
        self._idle = True  # nothing is pushed, nor was in the step before

    def begin(self, ids: Tensor, *, steps: int, linear: float, angular: float) -> None:
        """Push environments ``ids (k,)`` in the next ``steps`` control steps."""
        self._idle = False
        self._left[ids] = steps
        self._limit[ids] = torch.tensor([linear, linear, angular, angular, angular])

    def advance(self) -> bool:
        """Push where a push is in progress, and say whether there was any."""
        self.steps += 1.0
        self._idle = self._idle or not (self.velocity.any() or self._left.any())
        if self._idle:
            return False
        ids = (self._left > 0).nonzero().flatten()
        draw = 2.0 * torch.rand(ids.numel(), 5, generator=self._generator) - 1.0
        before = self.velocity
        self.velocity = torch.zeros_like(before)
        self.velocity[ids] = draw * self._limit[ids]
        change = (self.velocity[ids] - before[ids]).double()
        self._sim.qvel[ids, self._start : self._start + 2] += change[:, :2]
        self._sim.qvel[ids, self._start + 3 : self._start + 6] += change[:, 2:]
        self._left[ids] -= 1
        return bool(ids.numel())

    def reset(self, ids: Tensor) -> None:
        """End the pushes in environments ``ids (k,)``."""
        self._left[ids] = 0
        self.velocity[ids] = 0.0

    def get_state(self) -> dict[str, Any]:
        """Return what decides how the pushes go on."""
        return {
            "steps": self.steps,
            "velocity": self.velocity.clone(),
            "left": self._left.clone(),
            "limit": self._limit.clone(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` returned."""
        self._idle = False
        self.steps = state["steps"]
        self.velocity = state["velocity"].clone()
        self._left = state["left"].clone()
        self._limit = state["limit"].clone()
