"""Gymnasium's view of the environments: a vector environment, a single one, registration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from stridelab_envs.batch_env import BatchEnv, Observation
from stridelab_envs.registry import get_task, make_env, task_ids

NumpyObservation = dict[str, np.ndarray]


def observation_space(env: BatchEnv) -> spaces.Dict:
    """Space of one environment's observation: group name to an unbounded box."""
    sizes = env.observation_sizes
    return spaces.Dict(
        {g: spaces.Box(-np.inf, np.inf, (size,), np.float32) for g, size in sizes.items()}
    )


def action_space(env: BatchEnv) -> spaces.Box:
    """Space of one environment's action, bounded by the task's ``action_clip``."""
    clip = env.task.action_clip
    return spaces.Box(-clip, clip, (env.action_dim,), np.float32)


def _to_numpy(obs: Observation) -> NumpyObservation:
    return {group: value.numpy() for group, value in obs.items()}


class StridelabVectorEnv(VectorEnv):
    """``num_envs`` environments that restart in the step in which they end (``SAME_STEP``).

    ``infos`` of :meth:`step` holds, where an episode has ended, ``final_obs`` (group name to
    ``(num_envs, size)``, true last observations) with the mask ``_final_obs``.
    """

    def __init__(
        self,
        task_id: str,
        num_envs: int = 1,
        overrides: Mapping[str, Any] | None = None,
        seed: int = 0,
        num_threads: int = 0,
    ) -> None:
        config = get_task(task_id).with_overrides(overrides or {})
        self.batch_env = make_env(config, num_envs=num_envs, seed=seed, num_threads=num_threads)
        self.num_envs = num_envs
        self.single_observation_space = observation_space(self.batch_env)
        self.single_action_space = action_space(self.batch_env)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NumpyObservation, dict[str, Any]]:
        """Start a new episode everywhere; one ``seed`` serves all environments."""
        if seed is not None:
            first = (
                seed
                if isinstance(seed, int | np.integer)
                else next((s for s in seed if s is not None), 0)
            )
            self.batch_env.seed(int(first))
        return _to_numpy(self.batch_env.reset()), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[NumpyObservation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Execute ``actions (num_envs, action_dim)``."""
        step = self.batch_env.step(torch.from_numpy(np.asarray(actions, dtype=np.float32)))
        infos: dict[str, Any] = {}
        ended = (step.terminated | step.truncated).numpy()
        if ended.any():
            infos = {"final_obs": _to_numpy(step.final_obs), "_final_obs": ended}
        return (
            _to_numpy(step.obs),
            step.reward.numpy(),
            step.terminated.numpy(),
            step.truncated.numpy(),
            infos,
        )


class StridelabEnv(gymnasium.Env):
    """One environment; the caller resets it, as Gymnasium asks."""

    def __init__(
        self, task_id: str, overrides: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        self._vector = StridelabVectorEnv(task_id, 1, overrides, seed, num_threads=1)
        self.observation_space = self._vector.single_observation_space
        self.action_space = self._vector.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NumpyObservation, dict[str, Any]]:
        """Start a new episode."""
        super().reset(seed=seed)
        obs, _ = self._vector.reset(seed=seed)
        return _first(obs), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[NumpyObservation, float, bool, bool, dict[str, Any]]:
        """Execute ``action (action_dim,)``; the observation is the one the step led to."""
        obs, reward, terminated, truncated, infos = self._vector.step(np.asarray(action)[None])
        obs = infos.get("final_obs", obs)
        return _first(obs), float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}


def _first(obs: NumpyObservation) -> NumpyObservation:
    return {group: value[0] for group, value in obs.items()}


def gym_id(task_id: str) -> str:
    """Return the id under which Gymnasium knows a task: ``stridelab/BipedWalk-v0``."""
    camel = "".join(part.capitalize() for part in task_id.split("_"))
    return f"stridelab/{camel}-v0"


def register_gym_envs() -> None:
    """Register every task with Gymnasium, for ``make`` and ``make_vec``; may be called again."""
    for task_id in task_ids():
        if gym_id(task_id) not in gymnasium.registry:
            gymnasium.register(
                gym_id(task_id),
                entry_point="stridelab_envs.gym:StridelabEnv",
                vector_entry_point="stridelab_envs.gym:StridelabVectorEnv",
                disable_env_checker=True,
                kwargs={"task_id": task_id},
            )
