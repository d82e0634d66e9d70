"""The X1-class legs against the published tables of the robot."""

import mujoco
import numpy as np
import pytest

from stridelab_envs.robots.x1 import SPEC

# Joint: lower, upper of the left side [rad], 0.85 * effort [N m], kp, kd.
JOINTS = {
    "hip_pitch": (-1.57, 1.57, 127.5, 30, 3),
    "hip_roll": (-2.3, 0.8, 127.5, 40, 3),
    "hip_yaw": (-3.14, 3.14, 42.5, 35, 4),
    "knee_pitch": (0, 1.8, 127.5, 100, 10),
    "ankle_pitch": (-1, 1, 68, 35, 0.5),
    "ankle_roll": (-1, 1, 68, 35, 0.5),
}


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_path(str(SPEC.mjcf))


def at_base(model, pose):
    """Forward kinematics with the base at the origin."""
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    data.qpos[7:] = pose
    mujoco.mj_forward(model, data)
    return data


def test_joint_order():
    expected = [f"{side}_{name}" for side in ("left", "right") for name in JOINTS]
    assert list(SPEC.joints) == expected


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", JOINTS)
def test_ranges_torques_and_gains(model, side, name):
    low, high, torque, kp, kd = JOINTS[name]
    if side == "right" and name == "hip_roll":
        low, high = -high, -low
    joint, motor = model.joint(f"{side}_{name}"), model.actuator(f"{side}_{name}")
    np.testing.assert_allclose(joint.range, [low, high])
    np.testing.assert_allclose(motor.forcerange, [-torque, torque])
    assert (motor.gainprm[0], -motor.biasprm[2]) == (kp, kd)
    assert model.dof_damping[joint.dofadr[0]] == 0


def test_masses(model):
    assert model.body("base").mass[0] == pytest.approx(21.3, abs=1e-4)
    for side in ("left", "right"):
        assert model.body(f"{side}_hip_pitch").subtreemass[0] == pytest.approx(7.034, abs=5e-4)
    assert model.body_mass.sum() == pytest.approx(21.3 + 2 * 7.034, abs=1e-3)


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_ankles_at_zero_angles(model, side, sign):
    data = at_base(model, np.zeros(12))
    np.testing.assert_allclose(
        data.body(f"{side}_foot").xpos, [0.00235, sign * 0.1339, -0.58474], atol=1e-4
    )
    np.testing.assert_allclose(data.body(f"{side}_foot").xmat, np.eye(3).ravel(), atol=1e-12)


def test_hip_pitch_axes_are_canted(model):
    data = at_base(model, np.zeros(12))
    half = 0.5**0.5
    np.testing.assert_allclose(data.joint("left_hip_pitch").xaxis, [0, -half, half])
    np.testing.assert_allclose(data.joint("right_hip_pitch").xaxis, [0, half, half])
    data = at_base(model, [0.3, *[0] * 5, -0.3, *[0] * 5])
    forward = data.body("left_foot").xmat.reshape(3, 3)[:, 0]
    assert data.body("left_foot").xpos[0] > 0.05
    assert forward[1] > 0.15  # the leg yaws left as it swings forward


def test_default_pose_distances(model):
    data = at_base(model, SPEC.default_pose)
    ankles = data.body("left_foot").xpos - data.body("right_foot").xpos
    knees = data.body("left_shank").xpos - data.body("right_shank").xpos
    np.testing.assert_allclose(ankles, [0, 0.268, 0], atol=5e-4)
    np.testing.assert_allclose(knees, [0, 0.197, 0], atol=5e-4)


@pytest.mark.parametrize(
    ("pose", "expected"),
    [(np.zeros(12), [0.0041, 0.0023, 0.0514]), (SPEC.default_pose, [0.0157, 0.0024, 0.0547])],
)
def test_centre_of_mass(model, pose, expected):
    data = at_base(model, pose)
    np.testing.assert_allclose(data.subtree_com[1], expected, atol=5e-4)


def test_soles_pitch_slightly_in_the_default_pose(standing):
    _, data = standing(SPEC)
    toes = data.body("left_foot").xmat.reshape(3, 3)[:, 0]
    assert np.degrees(np.arcsin(toes[2])) == pytest.approx(0.75, abs=0.05)


def test_sole_lies_below_the_ankle(model):
    data = at_base(model, np.zeros(12))
    spheres = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_SPHERE)
    soles = data.geom_xpos[spheres, 2] - model.geom_size[spheres, 0]
    np.testing.assert_allclose(soles, -0.58474 - 0.0408, atol=1e-5)
