"""What every robot promises: the spec and the MJCF agree, and left mirrors right."""

import mujoco
import numpy as np
import pytest

from stridelab_envs.errors import ConfigError
from stridelab_envs.robots import BUILT_IN, get_robot

each_robot = pytest.mark.parametrize("robot", BUILT_IN, ids=lambda robot: robot.name)
MIRROR_Y = np.diag([1.0, -1.0, 1.0])


def mirrored(robot, q):
    by_name = dict(zip(robot.joints, q, strict=True))
    return np.array([sign * by_name[name] for name, sign in robot.mirror])


def sole_heights(model, data):
    spheres = [
        i
        for i in range(model.ngeom)
        if model.geom_type[i] == mujoco.mjtGeom.mjGEOM_SPHERE and model.geom_conaffinity[i]
    ]
    assert len(spheres) == 8
    return data.geom_xpos[spheres, 2] - model.geom_size[spheres, 0]


def test_get_robot_knows_its_robots():
    assert all(get_robot(robot.name) is robot for robot in BUILT_IN)


def test_unknown_robot_names_the_nearest():
    with pytest.raises(ConfigError, match=r'^robot: unknown robot "biped71"; .*"biped17"'):
        get_robot("biped71")


@each_robot
def test_joints_stand_in_spec_order(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    names = [model.joint(i).name for i in range(model.njnt)]
    assert model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    assert model.body(model.jnt_bodyid[0]).name == robot.base_body
    assert tuple(names[1:]) == robot.joints
    assert np.all(model.jnt_type[1:] == mujoco.mjtJoint.mjJNT_HINGE)
    assert np.all(model.jnt_limited[1:])


@each_robot
def test_one_position_actuator_a_joint(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    assert tuple(model.actuator(i).name for i in range(model.nu)) == robot.joints
    np.testing.assert_array_equal(model.actuator_trnid[:, 0], np.arange(1, model.njnt))
    np.testing.assert_allclose(model.actuator_ctrlrange, model.jnt_range[1:])
    np.testing.assert_array_equal(model.actuator_biasprm[:, 1], -model.actuator_gainprm[:, 0])
    assert np.all(model.actuator_biasprm[:, 2] < 0)
    assert np.all(model.actuator_forcelimited)
    np.testing.assert_array_equal(model.actuator_forcerange[:, 0], -model.actuator_forcerange[:, 1])


@each_robot
def test_default_pose_lies_within_the_limits(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    low, high = model.jnt_range[1:].T
    pose = np.array(robot.default_pose)
    assert np.all((low <= pose) & (pose <= high))


@each_robot
def test_base_starts_at_home_height_upright(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    np.testing.assert_array_equal(model.qpos0[:7], [0, 0, robot.home_height, 1, 0, 0, 0])


@each_robot
def test_soles_touch_the_ground_at_home(robot, standing):
    heights = sole_heights(*standing(robot))
    assert abs(heights.mean()) < 1e-4
    assert np.ptp(heights) < 2.5e-3  # the X1's default pose pitches its soles by 0.75 degrees


@each_robot
def test_mirror_is_an_involution_that_swaps_sides(robot):
    signs = dict(zip(robot.joints, robot.mirror, strict=True))
    for joint, (other, sign) in signs.items():
        assert signs[other] == (joint, sign)
        assert sign in (1.0, -1.0)
        swapped = {"left": "right", "right": "left"}.get(joint.split("_")[0], joint.split("_")[0])
        assert other.split("_")[0] == swapped


@each_robot
def test_pose_and_limits_are_symmetric(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    np.testing.assert_allclose(mirrored(robot, robot.default_pose), robot.default_pose)
    low, high = model.jnt_range[1:].T
    bounds = np.sort([mirrored(robot, low), mirrored(robot, high)], axis=0)
    np.testing.assert_allclose(bounds, [low, high])


@each_robot
def test_mirrored_angles_mirror_every_link(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    rng = np.random.default_rng(3)
    q = rng.uniform(*model.jnt_range[1:].T)
    here, there = mujoco.MjData(model), mujoco.MjData(model)
    here.qpos[7:], there.qpos[7:] = q, mirrored(robot, q)
    mujoco.mj_kinematics(model, here)
    mujoco.mj_kinematics(model, there)
    for i in range(1, model.nbody):
        name = model.body(i).name
        side, _, part = name.partition("_")
        other = {"left": f"right_{part}", "right": f"left_{part}"}.get(side, name)
        np.testing.assert_allclose(
            there.body(other).xpos, MIRROR_Y @ here.body(name).xpos, atol=1e-12
        )
        np.testing.assert_allclose(
            there.body(other).xmat.reshape(3, 3),
            MIRROR_Y @ here.body(name).xmat.reshape(3, 3) @ MIRROR_Y,
            atol=1e-12,
        )


@each_robot
def test_side_masses_are_equal_and_centres_mirrored(robot):
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    lefts = [model.body(i).name for i in range(model.nbody)]
    lefts = [name for name in lefts if name.startswith("left_")]
    assert len(lefts) == sum(joint.startswith("left_") for joint in robot.joints)
    for name in lefts:
        left, right = model.body(name), model.body(name.replace("left", "right"))
        assert left.mass == right.mass
        np.testing.assert_allclose(right.ipos, MIRROR_Y @ left.ipos, atol=1e-12)
        np.testing.assert_allclose(right.inertia, left.inertia, rtol=1e-9)


@each_robot
def test_foot_contact_sensors(robot, standing):
    model, data = standing(robot)
    for _ in range(4):
        mujoco.mj_step(model, data)
    for foot in robot.feet:
        found, *force = data.sensor(f"{foot}_contact").data
        assert found >= 2
        assert force[2] < -0.02 * 9.81 * model.body_mass.sum()  # the foot presses on the ground
    model, data = standing(robot)
    data.qpos[3:7] = [np.cos(0.05), np.sin(0.05), 0, 0]  # leaning right lifts the left foot
    mujoco.mj_forward(model, data)
    assert [data.sensor(f"{foot}_contact").data[0] > 0 for foot in robot.feet] == [False, True]
    data.qpos[2] += 0.1
    mujoco.mj_forward(model, data)
    assert all(not data.sensor(f"{foot}_contact").data.any() for foot in robot.feet)


@each_robot
def test_parts_touch_the_floor_but_not_each_other(robot, standing):
    model, data = standing(robot)
    floor = model.geom("floor").id
    # A tight tuck overlaps many links; lying on the floor touches it with more than the feet.
    low, high = model.jnt_range[1:].T
    data.qpos[7:] = np.where(np.abs(low) > np.abs(high), low, high) * 0.9
    data.qpos[2] = 0.05 * robot.home_height
    data.qpos[3:7] = [0.5**0.5, 0, 0.5**0.5, 0]
    mujoco.mj_forward(model, data)
    paired = {frozenset(pair) for pair in zip(model.pair_geom1, model.pair_geom2, strict=True)}
    base_touches = False
    for contact in data.contact:
        geoms = frozenset(int(g) for g in contact.geom)
        assert floor in geoms or geoms in paired
        bodies = {model.body(model.geom_bodyid[g]).name for g in geoms}
        base_touches |= bodies == {"world", robot.base_body}
    assert base_touches


@each_robot
@pytest.mark.parametrize("part", ["foot", "shank"])
def test_legs_cannot_pass_through_each_other(robot, part, standing):
    model, data = standing(robot)
    touching = {model.geom(f"{side}_{part}").id for side in ("left", "right")}
    data.qpos[2] = 2.0  # clear of the floor
    met = False
    for roll in np.linspace(-0.4, 0.4, 81):
        data.joint("left_hip_roll").qpos[0], data.joint("right_hip_roll").qpos[0] = roll, -roll
        mujoco.mj_forward(model, data)
        met |= any({int(g) for g in contact.geom} == touching for contact in data.contact)
    assert met
