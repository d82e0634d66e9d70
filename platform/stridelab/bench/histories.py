"""Contenders that keep and read a long history: X1's observation of 66 frames, without physics.

Both do what one training iteration asks of a history: record each step, give the whole
observation to act on, and give every minibatch of every epoch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from stridelab.bench.contender import Contender
from stridelab.bench.workload import SEED, SETTINGS
from stridelab.modules.history import FrameWindows, episode_beginnings
from stridelab_envs.history import FrameStack
from stridelab_envs.registry import get_task, make_env

TASK_ID = "x1_walk"
_ENDED_SHARE = 0.02
"""Share of steps that end an episode."""

Observations = dict[str, Tensor]


class _History(Contender):
    """Frames of one rollout, drawn once.

    Args:
        num_envs: Environments.
    """

    def __init__(self, num_envs: int) -> None:
        env = make_env(get_task(TASK_ID), num_envs=1, seed=SEED, num_threads=1)
        self.lengths = env.history
        self.num_envs, self.num_steps = num_envs, SETTINGS.num_steps_per_env
        self.generator = torch.Generator().manual_seed(SEED)
        self.frames = {
            group: torch.randn(self.num_steps + 1, num_envs, size, generator=self.generator)
            for group, size in env.frame_sizes.items()
        }
        draw = torch.rand(self.num_steps, num_envs, generator=self.generator)
        self.ended = draw < _ENDED_SHARE

    @abstractmethod
    def observations(self) -> Iterator[Observations]:
        """Yield what is acted on at each step, then every minibatch; group to ``(n, H * size)``."""

    def minibatches(self) -> Iterator[Tensor]:
        """Yield the rows of every minibatch of every epoch, each ``(k,)``."""
        for _ in range(SETTINGS.num_epochs):
            order = torch.randperm(self.num_steps * self.num_envs, generator=self.generator)
            yield from order.tensor_split(SETTINGS.num_minibatches)

    def run(self) -> int:
        """Record one rollout and read all of it."""
        for _ in self.observations():
            pass
        return self.num_steps * self.num_envs


class HistoryByIndex(_History):
    """As the platform does it: each frame once, observations built when they are asked for."""

    def observations(self) -> Iterator[Observations]:
        """See the base class."""
        began = episode_beginnings(self.ended)
        records = {
            group: torch.empty(self.lengths[group] + self.num_steps, *given.shape[1:])
            for group, given in self.frames.items()
        }
        windows = {group: FrameWindows(record, began) for group, record in records.items()}
        for group, given in self.frames.items():
            records[group][: self.lengths[group]] = given[0]
        for step in range(self.num_steps):
            yield {group: one.at(step) for group, one in windows.items()}
            for group, given in self.frames.items():
                records[group][self.lengths[group] + step] = given[step + 1]
        for ids in self.minibatches():
            yield {group: one[ids] for group, one in windows.items()}


class HistoryAsStacks(_History):
    """The plain way: every observation of the rollout is stored whole."""

    def observations(self) -> Iterator[Observations]:
        """See the base class."""
        stack = FrameStack(self.lengths)
        now = stack.push({group: given[0] for group, given in self.frames.items()})
        records = {group: torch.empty(self.num_steps, *value.shape) for group, value in now.items()}
        for step in range(self.num_steps):
            for group, value in now.items():
                records[group][step] = value
            yield {group: record[step] for group, record in records.items()}
            frames = {group: given[step + 1] for group, given in self.frames.items()}
            stack.push(frames)
            now = stack.restart(self.ended[step].nonzero().flatten(), frames)
        for ids in self.minibatches():
            yield {group: record.flatten(0, 1)[ids] for group, record in records.items()}
