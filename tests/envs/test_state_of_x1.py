"""What the state knows for the X1: angles, forces, lift and memory, against plain MuJoCo."""

import math

import mujoco
import numpy as np
import pytest
import torch

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp.math import roll_pitch_yaw
from stridelab_envs.registry import get_task


@pytest.fixture
def env():
    """Two robots in the standing pose."""
    off = dict.fromkeys(get_task("x1_walk").randomization)
    task = get_task("x1_walk").with_overrides({"randomization": off})
    return BatchEnv(task, num_envs=2, seed=0, num_threads=1)


def quaternion(roll, pitch, yaw):
    """MuJoCo's quaternion of a turn about z, then the new y, then the new x."""
    quat = np.zeros(4)
    mujoco.mju_euler2Quat(quat, [yaw, pitch, roll], "zyx")
    return quat


@pytest.mark.parametrize(
    "angles", [(0.0, 0.0, 0.0), (0.3, -0.2, 2.5), (-2.0, 1.2, -3.0), (3.0, -1.5, 0.1)]
)
def test_roll_pitch_yaw(angles):
    quat = torch.from_numpy(quaternion(*angles)).unsqueeze(0)
    torch.testing.assert_close(roll_pitch_yaw(quat), torch.tensor([angles], dtype=torch.float64))


def test_base_velocity_in_the_world(env):
    env.sim.qpos[0, 3:7] = torch.tensor([math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)])
    env.sim.qvel[0, :6] = torch.tensor([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
    env.sim.forward(torch.arange(2))
    env.state.reset(torch.arange(2))
    # A quarter turn about z: the body's x is the world's y.
    expected = [1.0, 2.0, 3.0, -0.2, 0.1, 0.3]
    assert env.state.base_vel[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert env.state.last_base_vel[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_bodies_and_feet_agree_with_mujoco(env):
    env.step(torch.ones(2, 12))
    data = env.sim.data(0)
    knees = [data.body(name).xpos for name in ("left_shank", "right_shank")]
    places = env.state.body_pos(("left_shank", "right_shank"))[0].numpy()
    np.testing.assert_allclose(places, knees, atol=1e-6)
    quats = [data.body(name).xquat for name in ("left_foot", "right_foot")]
    np.testing.assert_allclose(env.state.foot_quat[0].numpy(), quats, atol=1e-6)


def test_limits(env):
    limits = torch.tensor([127.5, 127.5, 42.5, 127.5, 68.0, 68.0] * 2)
    assert torch.equal(env.state.joint_torque_limit, limits)
    assert torch.equal(env.state.joint_vel_limit, torch.tensor([8.0, 8, 24, 8, 10, 10] * 2))
    assert env.state.joint_range[3].tolist() == pytest.approx([0.0, 1.8])
    assert env.state.joint_range[7].tolist() == pytest.approx([-0.8, 2.3])


def test_contact_forces(env):
    for _ in range(60):
        env.step(torch.zeros(2, 12))
    weight = 9.81 * float(env.sim.model.body_mass.sum())
    feet = sum(env.state.contact_force(foot) for foot in env.robot.feet)
    assert -float(feet[0, 2]) == pytest.approx(weight, rel=0.05)
    assert (env.state.contact_force("base") == 0.0).all()
    env.sim.qpos[0, 2] = 0.2
    env.sim.qpos[0, 3:7] = torch.tensor([math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0])  # on its face
    env.sim.forward(torch.tensor([0]))
    step = env.step(torch.zeros(2, 12))
    assert step.terminated.tolist() == [True, False]


def test_lying_on_the_base_is_felt(env):
    task = get_task("x1_walk").with_overrides(
        {"terminations": dict.fromkeys(["roll_or_pitch", "base_too_low"])}
    )
    env = BatchEnv(task, num_envs=1, seed=0, num_threads=1)
    for step in range(500):
        if env.step(torch.zeros(1, 12)).terminated[0]:
            assert step > 100  # it falls over first
            return
    pytest.fail("the base's contact ends no episode")


def test_foot_lift_counts_from_the_last_contact(env):
    state, feet = env.state, env.state.feet
    heights = iter([0.05, 0.06, 0.08, 0.11, 0.09, 0.04])
    touching = iter([True, True, False, False, True, False])
    lifts = []
    state._lift_from[:] = 0.05

    def step():
        height, contact = next(heights), next(touching)
        feet.contact = torch.full((2, 2), contact)
        state._cache["foot_pos"] = torch.full((2, 2, 3), height)
        state.follow_lift()
        lifts.append(state.foot_lift[0, 0].item())

    for _ in range(6):
        step()
    # Gained in the step of a contact too, from the contact before.
    assert lifts == pytest.approx([0.0, 0.01, 0.02, 0.05, 0.03, -0.05], abs=1e-6)


def test_actions_are_remembered_for_two_steps(env):
    for value in (1.0, 2.0, 3.0):
        env.step(torch.full((2, 12), value))
    state = env.state
    assert [t[0, 0].item() for t in (state.action, state.last_action, state.last_last_action)] == [
        3.0,
        2.0,
        1.0,
    ]
    env.reset()
    assert not (state.action.any() or state.last_action.any() or state.last_last_action.any())
