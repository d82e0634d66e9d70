"""rsl_rl: a batch of environments as its ``VecEnv``."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from stridelab_envs.batch_env import BatchEnv


class RslRlEnv:
    """A :class:`BatchEnv` for rsl_rl's ``OnPolicyRunner``, with all observation groups.

    Where a time limit has struck (``time_outs``), rsl_rl bootstraps from the value of the
    observation that was acted on, one step before the true last one.

    Args:
        env: The environments; their episodes are given random ages.
    """

    def __init__(self, env: BatchEnv) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self.num_actions = env.action_dim
        self.max_episode_length = env.max_episode_steps
        self.device = torch.device("cpu")
        self.cfg: dict[str, Any] = {}
        self._obs = env.reset()
        env.desynchronize()

    @property
    def episode_length_buf(self) -> Tensor:
        """Age of each episode [control steps]; rsl_rl writes into it at the start."""
        return self.env.state.episode_step

    @episode_length_buf.setter
    def episode_length_buf(self, value: Tensor) -> None:
        self.env.state.episode_step.copy_(value)

    def get_observations(self) -> TensorDict:
        """Return the present observations, group to ``(num_envs, size)``."""
        return TensorDict(self._obs, batch_size=[self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Execute ``actions (num_envs, num_actions)``."""
        step = self.env.step(actions)
        self._obs = step.obs
        done = (step.terminated | step.truncated).long()
        extras: dict[str, Any] = {"time_outs": step.truncated}
        if step.log:
            extras["log"] = {f"/{name}": value.nanmean() for name, value in step.log.items()}
        return self.get_observations(), step.reward, done, extras
