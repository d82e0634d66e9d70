"""What many environments have shown lately, each frame kept once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Memory:
    """The latest control steps; the oldest make room for new ones.

    Observations of several frames are built when they are drawn, as
    :class:`stridelab_envs.history.FrameStack` has them: oldest first, never from before the first
    frame of the episode, which stands in for what is missing.

    Args:
        num_steps: Control steps of each environment that are kept at most.
        history: Frames of a drawn observation by name; 1 where not named.
    """

    def __init__(self, num_steps: int, history: Mapping[str, int]) -> None:
        self._history = dict(history)
        self._longest = max(history.values(), default=1)
        self._capacity = max(num_steps, 2 * self._longest)
        self._rings: dict[str, Tensor] = {}
        self._since = torch.empty(0, dtype=torch.long)
        self._next = self._kept = 0

    def __len__(self) -> int:
        """Return how many samples can be drawn."""
        return (self._kept - self._too_old) * self._since.shape[-1]

    @property
    def _too_old(self) -> int:
        """Steps whose past has been overwritten."""
        return self._longest - 1 if self._kept == self._capacity else 0

    def extend(self, values: Mapping[str, Tensor], first: Tensor) -> None:
        """Take in the steps that follow those before.

        Args:
            values: Name to ``(T, N, size)``, the same names and sizes each time.
            first: The step is the first of an episode, ``(T, N)`` bool; in the very first step of
                all it is taken to be.
        """
        count, num_envs = first.shape
        if not self._rings:
            shape = (self._capacity, num_envs)
            self._rings = {n: v.new_empty(*shape, v.shape[-1]) for n, v in values.items()}
            self._since = torch.zeros(shape, dtype=torch.long)
        for step in range(count):
            place = (self._next + step) % self._capacity
            following = self._since[place - 1] + 1 if self._kept else torch.zeros_like(first[0])
            self._since[place] = torch.where(first[step], 0, following)
            self._kept = min(self._kept + 1, self._capacity)
            for name, value in values.items():
                self._rings[name][place] = value[step]
        self._next = (self._next + count) % self._capacity

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return ``count`` samples with replacement, name to ``(count, frames * size)``."""
        num_envs = self._since.shape[1]
        chosen = torch.randint(len(self), (count,), generator=generator)
        age = chosen // num_envs + self._too_old  # in steps since the oldest one
        step, env = (self._next - self._kept + age) % self._capacity, chosen % num_envs
        since = self._since[step, env]
        return {
            name: self._stacks(ring, step, env, since, self._history.get(name, 1))
            for name, ring in self._rings.items()
        }

    def _stacks(
        self, ring: Tensor, step: Tensor, env: Tensor, since: Tensor, frames: int
    ) -> Tensor:
        back = torch.arange(frames - 1, -1, -1)
        steps = (step[:, None] - torch.minimum(back, since[:, None])) % self._capacity
        rows = steps * ring.shape[1] + env[:, None]
        return ring.flatten(0, 1).index_select(0, rows.flatten()).view(step.shape[0], -1)
