"""The 17-servo desktop humanoid: servo order, size, torques, and that it stands."""

import mujoco
import numpy as np
import pytest

from stridelab_envs.robots.biped17 import SPEC

LEG = ["hip_roll", "hip_pitch", "knee", "ankle_roll", "ankle_pitch"]
ARM = ["shoulder_pitch", "shoulder_roll", "elbow"]


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_path(str(SPEC.mjcf))


def test_joints_follow_the_servo_channels():
    # Channels 0, 1-3, 4-8, 12-14, 15-19.
    expected = ["head_pan"]
    for side in ("right", "left"):
        expected += [f"{side}_{name}" for name in (*ARM, *LEG)]
    assert list(SPEC.joints) == expected
    assert SPEC.num_joints == 17
    assert SPEC.feet == ("left_foot", "right_foot")


def test_home_height_by_hand(model):
    # Hip 0.104 below the torso, two links of 0.14 at 0.25 rad, ankle 0.04471 above the sole.
    height = 0.104 + 2 * 0.14 * np.cos(0.25) + 0.04471
    assert height == pytest.approx(0.42, abs=1e-5)
    assert SPEC.home_height == 0.42


def test_masses_are_those_of_a_desktop_robot(model):
    # Torso 0.78 + 0.34, head 0.16, arm 0.09 + 0.11 + 0.11, leg 0.12 + 0.2 + 0.19 + 0.07 + 0.13.
    assert model.body_mass.sum() == pytest.approx(1.12 + 0.16 + 2 * 0.31 + 2 * 0.71)
    assert model.body_mass[1:].min() >= 0.065  # every link carries at least one servo


def test_torque_limits_of_the_servos(model):
    limit = dict(zip(SPEC.joints, model.actuator_forcerange[:, 1], strict=True))
    assert all(limit[name] == 3.5 for name in SPEC.joint_groups["legs"])
    assert all(limit[name] == 1.5 for name in SPEC.joint_groups["arms"] + ("head_pan",))


def test_knees_and_elbows_bend_one_way(model):
    for side in ("left", "right"):
        assert model.joint(f"{side}_knee").range[0] == 0
        assert model.joint(f"{side}_elbow").range[1] == 0


@pytest.mark.parametrize(
    ("joint", "body", "axis", "direction"),
    [
        ("right_hip_pitch", "right_foot", 0, -1),  # swings the leg back
        ("right_knee", "right_foot", 0, -1),
        ("right_hip_roll", "right_foot", 1, 1),  # swings it to the left
        ("left_hip_roll", "left_foot", 1, 1),
        ("left_shoulder_pitch", "left_forearm", 0, -1),
        ("left_shoulder_roll", "left_forearm", 1, 1),
    ],
)
def test_signs(model, joint, body, axis, direction):
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    before = data.body(body).xpos[axis]
    data.joint(joint).qpos[0] = 0.2
    mujoco.mj_kinematics(model, data)
    assert direction * (data.body(body).xpos[axis] - before) > 0.01


def test_positive_ankle_pitch_points_the_toes_down(model):
    data = mujoco.MjData(model)
    data.joint("left_ankle_pitch").qpos[0] = 0.3
    mujoco.mj_kinematics(model, data)
    toes = data.body("left_foot").xmat.reshape(3, 3)[:, 0]
    np.testing.assert_allclose(toes, [np.cos(0.3), 0, -np.sin(0.3)], atol=1e-12)


def test_centre_of_mass_lies_over_the_feet(standing):
    _, data = standing(SPEC)
    x, y, _ = data.subtree_com[1]
    assert -0.039 + 0.02 < x < 0.059 - 0.02  # the sole's contact points, less 2 cm
    assert y == pytest.approx(0, abs=1e-12)


def test_stands_still_for_ten_seconds(standing):
    model, data = standing(SPEC)
    assert model.opt.timestep == 0.005
    heights = []
    for _ in range(2000):
        mujoco.mj_step(model, data)
        heights.append(data.qpos[2])
    assert max(abs(z - SPEC.home_height) for z in heights) < 0.015
    assert np.ptp(heights[-400:]) < 1e-6
    assert np.abs(data.qvel).max() < 1e-4
    assert data.qpos[3] > 0.999
    pressed = -sum(data.sensor(f"{foot}_contact").data[3] for foot in SPEC.feet)
    assert pressed == pytest.approx(9.81 * model.body_mass.sum(), rel=1e-3)


def test_violent_targets_stay_finite_and_within_servo_speed(standing):
    model, data = standing(SPEC)
    rng = np.random.default_rng(0)
    fastest = 0.0
    for step in range(400):
        if step % 4 == 0:
            data.ctrl[:] = rng.uniform(*model.actuator_ctrlrange.T)
        mujoco.mj_step(model, data)
        fastest = max(fastest, np.abs(data.qvel[6:]).max())
    assert fastest < 20  # no-load speed is about 12 rad/s; impacts and gravity may add to it
    assert not any(warning.number for warning in data.warning)
