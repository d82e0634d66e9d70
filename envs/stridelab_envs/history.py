"""Stacks of the newest frames of an observation, for those who ask for them whole."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class FrameStack:
    """The newest frames of some observation groups, flattened oldest first.

    An episode starts with its first frame in every place: unlike zeros, that is a state a robot
    can be in, and what the loop on a robot does when it is switched on.

    Args:
        lengths: Number of frames of each group that has a history, at least 1.
    """

    def __init__(self, lengths: Mapping[str, int]) -> None:
        self.lengths = dict(lengths)
        self._stacks: dict[str, Tensor] = {}

    def push(self, frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Append the newest frames and return the stacks.

        Args:
            frames: Group name to ``(num_envs, size)``; the first call starts the episodes.

        Returns:
            Group name to ``(num_envs, length * size)``; groups without a history as they came.
        """
        for group, length in self.lengths.items():
            newest = frames[group]
            old = self._stacks.get(group)
            self._stacks[group] = (
                newest.repeat(1, length)
                if old is None
                else torch.cat([old[:, newest.shape[1] :], newest], dim=1)
            )
        return {**frames, **self._stacks}

    def restart(self, ids: Tensor, frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Start new episodes in environments ``ids (k,)`` and return the stacks.

        Args:
            ids: The environments.
            frames: First frames of the new episodes in the rows ``ids``, newest frames elsewhere;
                group name to ``(num_envs, size)``.
        """
        for group, length in self.lengths.items():
            first = frames[group].repeat(1, length)
            old = self._stacks.get(group)
            # Out of place: what was returned before stays as it is.
            self._stacks[group] = first if old is None else old.index_copy(0, ids, first[ids])
        return {**frames, **self._stacks}

    def get_state(self) -> dict[str, Tensor]:
        """Return the stacks."""
        return dict(self._stacks)

    def set_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`get_state` returned."""
        self._stacks = dict(state)
