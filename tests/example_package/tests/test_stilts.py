"""Tests of the package itself, to be run where it is installed."""

import math

import torch
from stridelab_example.robot import SPEC
from stridelab_example.terms import feet_level

from stridelab_envs.check import check_task
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.robots import get_robot
from stridelab_envs.robots.check import robot_problems, stand


def test_robot():
    assert get_robot("stilts") is SPEC
    assert robot_problems(SPEC) == []
    assert stand(SPEC).fell_after is None


def test_task():
    report = check_task(get_task("stilts_stand"), num_envs=8, seconds=1.0, num_threads=1)
    assert report.errors == []


def test_feet_level_by_hand():
    env = make_env(get_task("stilts_stand"), num_envs=1, seed=0, num_threads=1)
    env.reset()
    env.sim.qpos[0, 7:] = torch.zeros(6)
    env.sim.qpos[0, 7 + 1] = math.pi / 2  # the left shank lies level: its foot is 0.15 m higher
    env.sim.forward(torch.arange(1))
    env.state.reset(torch.arange(1))
    assert torch.allclose(feet_level(env.state, width=0.3), torch.tensor(math.exp(-0.25)))


def test_any_task_can_use_the_reward():
    task = get_task("biped_walk").with_overrides({"rewards": {"feet_level": {"weight": 2.0}}})
    assert task.rewards["feet_level"].func is feet_level
