"""What the tests of the environments share: robots, quiet or with their randomisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.registry import get_task

MakeBiped = Callable[..., BatchEnv]
QUIET = {"randomization": {"joint_pos": None, "joint_vel": None, "base_velocity": None}}


@pytest.fixture(autouse=True)
def _mujoco_logs_elsewhere(tmp_path, monkeypatch):
    """MuJoCo appends its warnings to MUJOCO_LOG.TXT in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_biped() -> MakeBiped:
    """Build the biped; ``quiet`` starts every episode in exactly the standing pose."""

    def build(
        overrides=None, *, num_envs=2, seed=0, num_threads=1, quiet=False, change=None, **kwargs
    ):
        task = get_task("biped_walk").with_overrides((QUIET if quiet else {}) | (overrides or {}))
        task = change(task) if change else task
        return BatchEnv(task, num_envs=num_envs, seed=seed, num_threads=num_threads, **kwargs)

    return build


@pytest.fixture
def make_h1():
    """Build a skill's task of the H1; ``quiet`` starts every episode in exactly the same way."""

    def build(task_id, overrides=None, *, num_envs=2, seed=0, quiet=True, change=None):
        task = get_task(task_id)
        if quiet:
            task = replace(task, randomization={}, action_delay=0.0, action_noise=0.0)
        task = task.with_overrides(overrides or {})
        task = change(task) if change else task
        return BatchEnv(task, num_envs=num_envs, seed=seed, num_threads=1)

    return build


@pytest.fixture
def tip_over():
    """Lay environments on their back, so that the next step ends them as fallen."""

    def tip(env, *ids):
        half = math.sqrt(0.5)
        for i in ids:
            env.sim.qpos[i, 3:7] = torch.tensor([half, 0.0, -half, 0.0], dtype=torch.float64)

    return tip
