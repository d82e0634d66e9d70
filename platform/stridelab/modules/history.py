"""Windows of frames by index: histories without storing a frame more than once.

An observation of several frames is their stack, oldest first, flattened. In a record of ``T`` steps
the windows of neighbouring steps overlap; so frames are kept once, time-major, and a window is a
list of rows. Row ``H - 1 + t`` holds the newest frame of step t, and the ``H - 1`` rows before the
first step hold the past. A window never reaches behind the first frame of its episode: that frame
stands in for what is missing, as :class:`stridelab_envs.history.FrameStack` has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

BEFORE_RECORD = -(2**31)
"""Beginning of an episode that ran already when the record starts; its past is in the record."""


def last_frames(stacked: Tensor, count: int, size: int) -> Tensor:
    """Return the newest ``count`` frames of ``stacked (..., H * size)``, oldest first."""
    return stacked[..., stacked.shape[-1] - count * size :]


def episode_beginnings(ended: Tensor) -> Tensor:
    """Return for each observation the step of the first one of its episode.

    Args:
        ended: The step ended an episode, ``(T, N)`` bool; the next observation is a first one.

    Returns:
        ``(T + 1, N)`` int64; :data:`BEFORE_RECORD` while the first episode goes on.
    """
    began = torch.full((ended.shape[0] + 1, ended.shape[1]), BEFORE_RECORD, device=ended.device)
    steps = torch.arange(1, ended.shape[0] + 1, device=ended.device).unsqueeze(1)
    began[1:] = torch.where(ended, steps, BEFORE_RECORD)
    return began.cummax(dim=0).values


class FrameWindows:
    """Observations of one group in a record, built when they are asked for.

    An observation is named by ``step * N + environment``. ``windows[ids]`` is ``(k, H * size)``.

    Args:
        frames: ``(H - 1 + T + 1, N, size)``, contiguous; may still be filled while in use.
        began: From :func:`episode_beginnings`, ``(T + 1, N)``; may still be filled while in use.
    """

    def __init__(self, frames: Tensor, began: Tensor) -> None:
        self.length = frames.shape[0] - began.shape[0] + 1
        """Frames of a window, H."""
        self.num_envs = frames.shape[1]
        self.num_windows = began.numel()
        """Observations in the record, (T + 1) * N."""
        self._frames = frames.flatten(0, 1)
        self._began = began
        self._places = torch.arange(self.length, device=frames.device)

    def __getitem__(self, ids: Tensor) -> Tensor:
        """Return the observations ``ids (k,)``, ``(k, H * size)``."""
        if self.length == 1:
            return self._frames[ids]
        return self._gather(self._rows(ids))

    def at(self, step: int) -> Tensor:
        """Return the observations of all environments at one step, ``(N, H * size)``."""
        start = step * self.num_envs
        if self.length == 1:
            return self._frames[start : start + self.num_envs]
        return self[torch.arange(start, start + self.num_envs, device=self._places.device)]

    def followed_by(self, ids: Tensor, newest: Tensor) -> Tensor:
        """Return what would be observed one step after ``ids (k,)`` in the same episode.

        Args:
            ids: Observations of the record.
            newest: The frames that follow, ``(k, size)``.

        Returns:
            ``(k, H * size)``.
        """
        if self.length == 1:
            return newest
        return torch.cat([self._gather(self._rows(ids)[:, 1:]), newest], dim=1)

    def past(self, step: int) -> Tensor:
        """Return what a record that goes on at ``step`` needs of this one, ``(H - 1, N, size)``."""
        window = self.at(step).unflatten(1, (self.length, -1))
        return window[:, :-1].transpose(0, 1).contiguous()

    def _rows(self, ids: Tensor) -> Tensor:
        """Return the places of the frames of observations ``ids (k,)``, ``(k, H)``."""
        step, env = ids // self.num_envs, ids % self.num_envs
        first = self._began.flatten()[ids] + self.length - 1
        rows = torch.maximum(step.unsqueeze(1) + self._places, first.unsqueeze(1))
        return rows * self.num_envs + env.unsqueeze(1)

    def _gather(self, rows: Tensor) -> Tensor:
        width = rows.shape[1] * self._frames.shape[1]  # given, for rows of no observation
        return self._frames.index_select(0, rows.flatten()).view(rows.shape[0], width)


def frame_windows(
    frames: Mapping[str, Tensor], past: Mapping[str, Tensor], ended: Tensor
) -> dict[str, FrameWindows]:
    """Return the observations of every group in a record.

    Args:
        frames: Group to frames from the first step on, ``(T + 1, N, size)``.
        past: The frames before those, where an observation has several, ``(H - 1, N, size)``.
        ended: The step ended an episode, ``(T, N)`` bool.
    """
    began = episode_beginnings(ended)
    return {
        group: FrameWindows(torch.cat([past[group], new]) if group in past else new, began)
        for group, new in frames.items()
    }
