"""Stable-Baselines3: one batch of environments as its ``VecEnv``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from stridelab_envs.batch_env import BatchEnv, Step
from stridelab_envs.gym import action_space, observation_space


class StableBaselinesEnv(VecEnv):
    """A :class:`BatchEnv` for Stable-Baselines3, which sees one observation group.

    No processes are needed: all environments are stepped together. Time limits are told from
    failures by ``TimeLimit.truncated``, and return and length of ended episodes stand in
    ``infos[i]["episode"]``, as with its ``Monitor``.

    Args:
        env: The environments.
        group: Observation group to show.
    """

    def __init__(self, env: BatchEnv, group: str = "policy") -> None:
        self.batch_env = env
        self.group = group
        super().__init__(env.num_envs, observation_space(env)[group], action_space(env))
        self._actions = torch.zeros(env.num_envs, env.action_dim)

    def reset(self) -> np.ndarray:
        """Start a new episode everywhere; return observations ``(num_envs, size)``."""
        if self._seeds[0] is not None:
            self.batch_env.seed(int(self._seeds[0]))
        self._reset_seeds()
        self._reset_options()
        return self._numpy(self.batch_env.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Take in ``actions (num_envs, action_dim)``."""
        self._actions = torch.from_numpy(np.asarray(actions, dtype=np.float32))

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Execute them; return observations, rewards, ends and infos."""
        step = self.batch_env.step(self._actions)
        ended = step.terminated | step.truncated
        return self._numpy(step.obs), step.reward.numpy(), ended.numpy(), self._infos(step)

    def _infos(self, step: Step) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = (step.terminated | step.truncated).nonzero().flatten().tolist()
        last = self._numpy(step.final_obs)
        for place, i in enumerate(ended):
            infos[i] = {
                "terminal_observation": last[i],
                "TimeLimit.truncated": bool(step.truncated[i]),
                "episode": {
                    "r": float(step.log["episode/return"][place]),
                    "l": int(step.log["episode/length"][place]),
                },
            }
        return infos

    def _numpy(self, obs: dict[str, torch.Tensor]) -> np.ndarray:
        group: np.ndarray = obs[self.group].numpy()
        return group

    def close(self) -> None:
        """Nothing to release: physics threads end with the environments."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the environments, the same for each."""
        if attr_name == "render_mode":  # it is asked for, and absent
            return [None] * len(self._indices(indices))
        return [getattr(self.batch_env, attr_name)] * len(self._indices(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the environments are one object."""
        raise NotImplementedError("environments of one batch cannot differ in an attribute")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Call a method of the environments once; return its result for each."""
        result = getattr(self.batch_env, method_name)(*args, **kwargs)
        return [result] * len(self._indices(indices))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper], indices: Any = None
    ) -> list[bool]:
        """Say that no environment is inside a Gymnasium wrapper."""
        return [False] * len(self._indices(indices))

    def _indices(self, indices: int | Iterable[int] | None) -> Sequence[int]:
        if indices is None:
            return range(self.num_envs)
        return [indices] if isinstance(indices, int) else list(indices)
