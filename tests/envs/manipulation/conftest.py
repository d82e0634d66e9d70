"""What the tests of the manipulation tasks share."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.registry import get_task


@pytest.fixture
def make_task():
    """Build a task that starts in exactly the standing pose; ``fixed`` names what is drawn."""

    def build(task_id, *, num_envs=1, seed=0, fixed=None, **overrides):
        ranges = {name: [value, value] for name, value in (fixed or {}).items()}
        task = get_task(task_id).with_overrides(
            {"commands": {"goal": {"ranges": ranges}}, **overrides}
        )
        task = replace(task, randomization={})
        return BatchEnv(task, num_envs=num_envs, seed=seed, num_threads=1)

    return build


@pytest.fixture
def renew():
    """Make everything current after the physics state was written."""

    def current(env):
        ids = torch.arange(env.num_envs)
        env.sim.forward(ids)
        env.state.reset(ids)

    return current


@pytest.fixture
def stand_at(renew):
    """Put the standing robots at a planar place [m] with a heading [rad]."""

    def stand(env, x=0.0, y=0.0, yaw=0.0):
        env.sim.qpos[:, :2] = torch.tensor([x, y], dtype=torch.float64)
        quat = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
        env.sim.qpos[:, 3:7] = torch.tensor(quat, dtype=torch.float64)
        renew(env)

    return stand


@pytest.fixture
def put(renew):
    """Put a free object at a place [m]."""

    def move(env, name, *pos):
        ids = torch.arange(env.num_envs)
        env.state.objects.place(name, ids, torch.tensor([pos]).repeat(env.num_envs, 1))
        renew(env)

    return move
