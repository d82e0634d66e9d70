"""Rewards for posture, contacts, effort and limits by hand-computed numbers."""

import math
from types import SimpleNamespace

import pytest
import torch

from stridelab_envs.mdp import body_rewards, terminations


def state(**values):
    own = {name: torch.tensor(value) for name, value in values.items() if name != "contact"}
    feet = SimpleNamespace(contact=torch.tensor(values.get("contact", [[True]])))
    return SimpleNamespace(feet=feet, **own)


def about(axis, angle):
    """Quaternion of a turn about one axis."""
    vector = [0.0, 0.0, 0.0]
    vector[axis] = math.sin(angle / 2)
    return [math.cos(angle / 2), *vector]


CASES = {
    "vel_mismatch_exp": (
        {
            "base_lin_vel": [[9.0, 9.0, 0.1], [9.0, 9.0, 0.0]],
            "base_ang_vel": [[0.06, 0.08, 9.0], [0.0, 0.0, 9.0]],
        },
        {},
        [(math.exp(-0.1) + math.exp(-0.5)) / 2, 1.0],
    ),
    "base_acc": (
        {
            "base_vel": [[0.1, 0.0, 0.0, 0.2, 0.0, 0.2], [1.0] * 6],
            "last_base_vel": [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0] * 6],
        },
        {},
        [math.exp(-0.9), 1.0],
    ),
    "foot_slip": (
        {
            "foot_vel": [[[0.03, 0.04, 9.0], [0.0, -0.25, 9.0]]] * 2,
            "contact": [[True, True], [False, True]],
        },
        {},
        [math.sqrt(0.05) + 0.5, 0.5],
    ),
    "feet_rotation": (
        {"foot_quat": [[about(0, 0.2), about(1, -0.1)], [about(2, 1.0), about(2, -2.0)]]},
        {},
        [math.exp(-15 * 0.05), 1.0],
    ),
    "action_smoothness": (
        {
            "action": [[1.0, -1.0], [0.0, 0.0]],
            "last_action": [[0.0, 1.0], [0.0, 0.0]],
            "last_last_action": [[0.0, 0.0], [0.0, 1.0]],
        },
        {},
        # First differences 1, -2; second 1 - 0 and -2 - 1; size 2.
        [5.0 + 10.0 + 0.1, 1.0],
    ),
    "dof_pos_limits": (
        {
            "joint_range": [[-1.0, 1.0], [0.0, 2.0]],
            "joint_pos": [[0.95, 1.0], [-0.85, 0.05], [0.9, 1.9]],
        },
        {"share": 0.9},
        [0.05, 0.05, 0.0],
    ),
    "dof_vel_limits": (
        {"joint_vel_limit": [10.0, 20.0], "joint_vel": [[9.5, -18.2], [-50.0, 50.0], [9.0, 18.0]]},
        {"share": 0.9},
        [0.7, 2.0, 0.0],
    ),
    "dof_torque_limits": (
        {"joint_torque_limit": [100.0, 50.0], "joint_torque": [[95.0, -50.0], [90.0, 45.0]]},
        {"share": 0.9},
        [10.0, 0.0],
    ),
}


@pytest.mark.parametrize(("name", "row"), CASES.items(), ids=CASES)
def test_reward(name, row):
    values, params, expected = row
    result = getattr(body_rewards, name)(state(**values), **params)
    assert result.dtype == torch.float32
    assert result.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_default_joint_pos():
    columns = {"left_a": 0, "left_b": 1, "right_a": 2}
    given = state(
        default_pose=[0.0, 0.1, 0.0, 0.5],
        joint_pos=[[0.06, 0.18, 0.02, 0.5], [0.0, 0.1, 0.05, 1.5]],
    )
    given.num_envs = 2
    given.joint_ids = lambda names: [columns[name] for name in names]
    result = body_rewards.default_joint_pos(given, left=("left_a", "left_b"), right=("right_a",))
    # Left 0.1, right 0.02; in the second row 0.05 in all and one joint that counts only at large.
    expected = [
        math.exp(-2.0) - 0.01 * math.sqrt(0.0104),
        1.0 - 0.01 * math.sqrt(0.0025 + 1.0),
    ]
    assert result.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("distance", "score"),
    [(0.19, (math.exp(-1) + 1) / 2), (0.3, 1.0), (0.52, (1 + math.exp(-2)) / 2)],
)
def test_bodies_distance(distance, score):
    places = torch.tensor([[[0.0, 0.0, 9.0], [0.6 * distance, 0.8 * distance, 0.0]]])
    given = SimpleNamespace(body_pos=lambda bodies: places if bodies == ("a", "b") else None)
    result = body_rewards.bodies_distance(given, bodies=("a", "b"), low=0.2, high=0.5)
    assert result.tolist() == pytest.approx([score], rel=1e-4)


FORCES = {
    "left": [[0.0, 0.0, -720.0], [300.0, 0.0, -400.0], [0.0, 0.0, -2000.0]],
    "right": [[0.0, 0.0, -300.0], [0.0, 480.0, -640.0], [0.0, 0.0, -710.0]],
    "base": [[0.0, 0.0, 0.0], [0.3, 0.0, -0.4], [0.0, 3.0, 4.0]],
}


@pytest.fixture
def pressed():
    robot = SimpleNamespace(feet=("left", "right"))
    return SimpleNamespace(
        num_envs=3, robot=robot, contact_force=lambda body: torch.tensor(FORCES[body])
    )


def test_feet_contact_forces(pressed):
    result = body_rewards.feet_contact_forces(pressed, limit=700.0, most=400.0)
    assert result.tolist() == pytest.approx([20.0, 100.0, 410.0])


def test_collision(pressed):
    assert body_rewards.collision(pressed, ("base",), force=0.1).tolist() == [0.0, 1.0, 1.0]
    assert body_rewards.collision(pressed, ("base", "left"), force=0.1).tolist() == [1.0, 2.0, 2.0]


def test_body_contact(pressed):
    result = terminations.body_contact(pressed, body="base", force=1.0)
    assert result.tolist() == [False, False, True]


def test_roll_or_pitch():
    given = state(base_rpy=[[1.4, -1.4, 3.0], [-1.6, 0.0, 0.0], [0.0, 1.52, 0.0]])
    assert terminations.roll_or_pitch(given, limit=1.5).tolist() == [False, True, True]
