"""``Recorder``: fills a rollout step by step and gives the observations to act on meanwhile."""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab.modules.history import BEFORE_RECORD, FrameWindows
from stridelab.sampling.rollout import Rollout
from stridelab_envs.batch_env import BatchEnv, Observation, Step


class Recorder:
    """The rollout in the making.

    Args:
        env: Environments built with ``stack_history=False``.
        num_steps: Steps to record, T.
        obs: Newest frames at the start, group to ``(N, size)``.
        past: Frames before those, in groups with a history of H > 1 frames, ``(H - 1, N, size)``.
    """

    def __init__(
        self, env: BatchEnv, num_steps: int, obs: Observation, past: dict[str, Tensor]
    ) -> None:
        count, self._steps, self._past = env.num_envs, num_steps, past
        self._began = torch.full((num_steps + 1, count), BEFORE_RECORD)
        self._frames: dict[str, Tensor] = {}
        for group, size in env.frame_sizes.items():
            length = env.history[group]
            frames = torch.empty(length + num_steps, count, size)
            frames[length - 1] = obs[group]
            if length > 1:
                frames[: length - 1] = past[group]
            self._frames[group] = frames
        self._windows = {g: FrameWindows(v, self._began) for g, v in self._frames.items()}
        self._rewards = torch.empty(num_steps, count)
        self._terminated = torch.empty(num_steps, count, dtype=torch.bool)
        self._truncated = torch.empty(num_steps, count, dtype=torch.bool)
        self._actions: list[Tensor] = []
        self._inputs: list[Tensor] = []
        self._logps: list[Tensor] = []
        self._logs: list[dict[str, Tensor]] = []
        self._final_obs: dict[str, list[Tensor]] = {group: [] for group in self._frames}

    def obs(self) -> Observation:
        """Return the whole observations to act on now, group to ``(N, H * size)``."""
        now = len(self._actions)
        return {group: windows.at(now) for group, windows in self._windows.items()}

    def add(self, action: Tensor, inputs: Tensor, logp: Tensor, step: Step) -> None:
        """Take in one step: what was sampled, from what, how likely it was, and what came of it."""
        t = len(self._actions)
        self._actions.append(action)
        self._inputs.append(inputs)
        self._logps.append(logp)
        self._rewards[t] = step.reward
        self._terminated[t], self._truncated[t] = step.terminated, step.truncated
        ended = step.terminated | step.truncated
        self._began[t + 1] = self._began[t].masked_fill(ended, t + 1)
        for group, frame in step.obs.items():
            self._frames[group][t - self._steps] = frame
        if step.truncated.any():
            for group, frame in step.final_obs.items():
                self._final_obs[group].append(frame[step.truncated])
        if step.log:
            self._logs.append(step.log)

    def past(self) -> dict[str, Tensor]:
        """Return the past that the next record starts from."""
        return {group: self._windows[group].past(self._steps) for group in self._past}

    def rollout(self) -> Rollout:
        """Return the record of all steps."""
        logs = self._logs
        return Rollout(
            obs={group: _alone(v[-self._steps - 1 :]) for group, v in self._frames.items()},
            actions=torch.stack(self._actions),
            dist_inputs=torch.stack(self._inputs),
            logp=torch.stack(self._logps),
            rewards=self._rewards,
            terminated=self._terminated,
            truncated=self._truncated,
            final_obs={
                group: torch.cat([frames.new_empty(0, frames.shape[-1]), *self._final_obs[group]])
                for group, frames in self._frames.items()
            },
            past=self._past,
            episodes={n: torch.cat([log[n] for log in logs]) for n in logs[0]} if logs else {},
        )


def _alone(rows: Tensor) -> Tensor:
    """Return the rows without the memory around them, which would be sent along with them."""
    return rows if rows.untyped_storage().nbytes() == rows.nbytes else rows.clone()
