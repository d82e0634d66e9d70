"""The H1-class humanoid against the published tables of the robot."""

import mujoco
import numpy as np
import pytest

from stridelab_envs.robots.h1 import SPEC

# Joint: lower, upper [rad], 0.85 * effort [N m], kp, kd; left side, then the torso.
JOINTS = {
    "hip_yaw": (-0.43, 0.43, 170, 200, 5),
    "hip_roll": (-0.43, 0.43, 170, 200, 5),
    "hip_pitch": (-1.57, 1.57, 170, 200, 5),
    "knee": (-0.26, 2.05, 255, 300, 6),
    "ankle": (-0.87, 0.52, 34, 40, 2),
    "shoulder_pitch": (-2.87, 2.87, 34, 100, 2),
    "shoulder_roll": (-0.34, 3.11, 34, 100, 2),
    "shoulder_yaw": (-1.3, 4.45, 15.3, 100, 2),
    "elbow": (-1.25, 2.61, 15.3, 100, 2),
}
TORSO = (-2.35, 2.35, 170, 300, 6)
LEG, ARM = list(JOINTS)[:5], list(JOINTS)[5:]


@pytest.fixture
def model():
    return mujoco.MjModel.from_xml_path(str(SPEC.mjcf))


def at_pelvis(model, pose):
    """Forward kinematics with the pelvis at the origin."""
    data = mujoco.MjData(model)
    data.qpos[:7] = [0, 0, 0, 1, 0, 0, 0]
    data.qpos[7:] = pose
    mujoco.mj_forward(model, data)
    return data


def test_joint_order_and_default_pose():
    expected = [f"{side}_{name}" for side in ("left", "right") for name in LEG]
    expected += ["torso", *(f"{side}_{name}" for side in ("left", "right") for name in ARM)]
    assert list(SPEC.joints) == expected
    pose = dict(zip(SPEC.joints, SPEC.default_pose, strict=True))
    bent = {"hip_pitch": -0.4, "knee": 0.8, "ankle": -0.4}
    for name, angle in pose.items():
        assert angle == bent.get(name.split("_", 1)[-1], 0.0)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", JOINTS)
def test_ranges_torques_and_gains(model, side, name):
    low, high, torque, kp, kd = JOINTS[name]
    if side == "right" and name in ("shoulder_roll", "shoulder_yaw"):
        low, high = -high, -low
    joint, motor = model.joint(f"{side}_{name}"), model.actuator(f"{side}_{name}")
    np.testing.assert_allclose(joint.range, [low, high])
    np.testing.assert_allclose(motor.forcerange, [-torque, torque])
    assert (motor.gainprm[0], -motor.biasprm[2]) == (kp, kd)
    assert model.dof_damping[joint.dofadr[0]] == 0


def test_torso_joint(model):
    low, high, torque, kp, kd = TORSO
    motor = model.actuator("torso")
    np.testing.assert_allclose(model.joint("torso").range, [low, high])
    np.testing.assert_allclose(motor.forcerange, [-torque, torque])
    assert (motor.gainprm[0], -motor.biasprm[2]) == (kp, kd)


def test_torque_is_pd_clipped_at_its_limit(model):
    data = at_pelvis(model, SPEC.default_pose)
    data.ctrl[:] = SPEC.default_pose
    data.ctrl[SPEC.joints.index("left_knee")] += 0.1
    data.ctrl[SPEC.joints.index("left_elbow")] += 1.0
    data.qvel[6 + SPEC.joints.index("torso")] = 2.0
    mujoco.mj_forward(model, data)
    force = dict(zip(SPEC.joints, data.actuator_force, strict=True))
    assert force["left_knee"] == pytest.approx(300 * 0.1)
    assert force["left_elbow"] == 15.3
    assert force["torso"] == pytest.approx(-6 * 2.0)
    assert force["right_knee"] == 0


def test_masses(model):
    assert model.body_mass.sum() == pytest.approx(51.65, abs=0.005)
    for side in ("left", "right"):
        assert model.body(f"{side}_hip_yaw").subtreemass[0] == pytest.approx(10.901, abs=1e-3)
        assert model.body(f"{side}_shoulder_pitch").subtreemass[0] == pytest.approx(3.334)


def link_inertia(model, name):
    """Inertia about the centre of mass in the link's axes, as [ixx iyy izz ixy ixz iyz]."""
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, model.body(name).iquat)
    rotation = rotation.reshape(3, 3)
    tensor = rotation @ np.diag(model.body(name).inertia) @ rotation.T
    return tensor[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]


@pytest.mark.parametrize(
    ("link", "inertia"),
    [
        ("thigh", [0.082618, 0.081579, 0.0060081, -6.6654e-4, 0.0040725, 0.0072024]),
        ("forearm", [4.2388e-4, 0.0060062, 0.0060023, -3.6086e-5, 2.9293e-4, 4.664e-6]),
        ("foot", [0.000156, 0.003620, 0.003551, 0, 0.000143, 0]),
    ],
)
def test_inertia_tensors(model, link, inertia):
    np.testing.assert_allclose(link_inertia(model, f"left_{link}"), inertia, atol=1e-9)
    flipped = np.array(inertia) * [1, 1, 1, -1, 1, -1]
    np.testing.assert_allclose(link_inertia(model, f"right_{link}"), flipped, atol=1e-9)


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_frames_in_the_default_pose(model, side, sign):
    data = at_pelvis(model, SPEC.default_pose)
    foot, shank = data.body(f"{side}_foot").xpos, data.body(f"{side}_shank").xpos
    np.testing.assert_allclose(foot, [0.0395, sign * 0.2029, -0.911], atol=1e-4)
    np.testing.assert_allclose(shank, [0.1952, sign * 0.2029, -0.5426], atol=1e-4)
    elbow, wrist = data.body(f"{side}_forearm").xpos, data.site(f"{side}_wrist").xpos
    np.testing.assert_allclose(elbow, [0.0185, sign * 0.2135, 0.1066], atol=1e-4)
    np.testing.assert_allclose(wrist, [0.2985, sign * 0.2135, 0.0866], atol=1e-4)
    shoulder = data.body(f"{side}_shoulder_roll").xpos
    np.testing.assert_allclose(shoulder, [0, sign * 0.2135, 0.4389], atol=1e-4)


def test_centre_of_mass_in_the_default_pose(model):
    data = at_pelvis(model, SPEC.default_pose)
    np.testing.assert_allclose(data.subtree_com[1], [0.028, 0.001, -0.033], atol=6e-4)


def test_imu_site(model):
    data = at_pelvis(model, np.zeros(19))
    np.testing.assert_allclose(data.site("imu").xpos, [-0.04452, -0.01891, 0.27756])


@pytest.mark.parametrize("knee", [0.0, 0.8, 1.2, 1.6])
def test_height_falls_with_the_knee_angle(model, knee):
    pose = dict.fromkeys(SPEC.joints, 0.0)
    for side in ("left", "right"):
        pose |= {f"{side}_hip_pitch": -knee / 2, f"{side}_knee": knee, f"{side}_ankle": -knee / 2}
    data = at_pelvis(model, list(pose.values()))
    spheres = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_SPHERE)
    soles = data.geom_xpos[spheres, 2] - model.geom_size[spheres, 0]
    np.testing.assert_allclose(-soles, 0.8 * np.cos(knee / 2) + 0.2442, atol=1e-6)


def test_home_height_is_the_standing_height():
    assert SPEC.home_height == pytest.approx(0.8 * np.cos(0.4) + 0.2442, abs=1e-4)


def test_support_area(standing):
    _, data = standing(SPEC)
    points = np.array([contact.pos for contact in data.contact])
    assert points.shape == (8, 3)
    x, y, _ = points.T
    # Sole from -0.095 to 0.196 about the ankle, 0.08 wide, feet 0.406 apart.
    assert (x.min(), x.max()) == pytest.approx((0.0395 - 0.095, 0.0395 + 0.196), abs=2e-3)
    assert np.abs(y).min() == pytest.approx(0.2029 - 0.035, abs=1e-3)


def test_lands_and_carries_its_weight(standing):
    # Ankles of 40 N m/rad cannot balance 51.65 kg at 0.95 m (456 N m/rad) without feedback, so
    # only the first moments are checked: no bounce, both feet down, the height nearly kept.
    model, data = standing(SPEC)
    for _ in range(40):
        mujoco.mj_step(model, data)
    assert data.qpos[2] == pytest.approx(SPEC.home_height, abs=0.05)
    pressed = -sum(data.sensor(f"{foot}_contact").data[3] for foot in SPEC.feet)
    assert pressed == pytest.approx(9.81 * 51.65, rel=0.3)
    assert not any(warning.number for warning in data.warning)
