"""Robots read from model files: what the files say, and what is guessed."""

import mujoco
import numpy as np
import pytest

from stridelab.scaffold.draft import draft_robot
from stridelab.scaffold.source import read_model
from stridelab_envs.errors import UserError
from stridelab_envs.robots import BUILT_IN

GRAVITY = 9.81


def draft(path, **kwargs):
    return draft_robot(read_model(path), "acme", path, **kwargs)


@pytest.mark.parametrize("robot", BUILT_IN, ids=lambda robot: robot.name)
def test_a_maker_s_scene_gives_the_shipped_spec(robot, motorised):
    path, limits = motorised(robot.name)
    found = draft(path)
    assert tuple(joint.name for joint in found.joints) == robot.joints
    assert found.default_pose == pytest.approx(robot.default_pose)
    assert found.home_height == pytest.approx(robot.home_height, abs=2e-3)
    assert (found.base_body, tuple(found.feet)) == (robot.base_body, robot.feet)
    assert found.mirror == list(robot.mirror)
    assert set(found.joint_groups["legs"]) == set(robot.joint_groups["legs"])
    model = found.model.compile()
    toppling = model.body_mass.sum() * GRAVITY * found.home_height
    for i, joint in enumerate(found.joints):
        assert joint.torque == pytest.approx(limits[joint.name])  # control range times gear
        assert joint.kp == pytest.approx(min(toppling / 2.0, joint.torque / 0.5))
        assert model.actuator(i).name == joint.name
        assert model.actuator_gainprm[i, 0] == -model.actuator_biasprm[i, 1] == joint.kp
        damping = model.dof_damping[6 + i]
        assert joint.kv == pytest.approx(max(0.0, 0.03 * joint.kp - damping))
        assert model.actuator_biasprm[i, 2] == -joint.kv
        np.testing.assert_allclose(model.actuator_ctrlrange[i], (joint.low, joint.high))
        np.testing.assert_allclose(model.actuator_forcerange[i], (-joint.torque, joint.torque))
    assert model.nbody == mujoco.MjModel.from_xml_path(str(robot.mjcf)).nbody  # no table
    assert (model.nkey, model.nlight) == (0, 0)
    assert not (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).any()
    assert 'The default pose is that of the key frame "home".' in found.notes
    assert "Guessed, for the file is silent: gains of every joint." in found.notes


def test_gains_of_position_actuators_are_kept():
    robot = BUILT_IN[0]
    found = draft(robot.mjcf)
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    assert [joint.kp for joint in found.joints] == list(model.actuator_gainprm[:, 0])
    assert [joint.kv for joint in found.joints] == list(-model.actuator_biasprm[:, 2])
    assert [joint.torque for joint in found.joints] == list(model.actuator_forcerange[:, 1])
    assert not any("Guessed" in note for note in found.notes)


class TestUrdf:
    def test_what_it_says(self, urdf):
        found = draft(urdf)
        assert found.base_body == "base"
        assert [joint.name for joint in found.joints] == ["right_hip", "left_hip"]
        assert found.feet == ["left_foot", "right_foot"]  # welded links stay bodies
        assert found.home_height == pytest.approx(0.43)
        assert found.mass == pytest.approx(6.2)
        assert found.mirror == [("left_hip", 1.0), ("right_hip", 1.0)]
        assert found.joint_groups == {"legs": ["right_hip", "left_hip"]}
        hip = found.joints[0]
        assert (hip.low, hip.high, hip.torque) == (-1.0, 1.0, 20.0)
        model = found.model.compile()
        assert model.joint("root").type[0] == mujoco.mjtJoint.mjJNT_FREE
        assert model.nmesh == 1  # the collada shell is only seen
        assert hip.kp == pytest.approx(6.2 * GRAVITY * 0.43 / 2.0)  # less than 20 N m / 0.5 rad
        assert model.dof_armature[6] == pytest.approx(hip.kp * 0.02**2)

    def test_a_range_that_is_missing(self, urdf):
        urdf.write_text(urdf.read_text().replace('type="revolute"', 'type="continuous"'))
        found = draft(urdf)
        assert [(j.low, j.high) for j in found.joints] == [pytest.approx((-np.pi, np.pi))] * 2
        assert any("no range for right_hip, left_hip" in note for note in found.notes)

    def test_a_torque_limit_that_is_missing(self, urdf):
        urdf.write_text(urdf.read_text().replace('effort="20"', 'effort="0"'))
        [right, left] = draft(urdf).joints
        assert right.torque == left.torque == pytest.approx(6.2 * GRAVITY * 0.43 / 4.0)

    def test_zero_is_moved_into_the_range(self, urdf):
        urdf.write_text(urdf.read_text().replace('lower="-1"', 'lower="0.2"'))
        found = draft(urdf)
        assert found.default_pose == pytest.approx([0.2, 0.2])
        assert "The default pose was moved into the joints' ranges." in found.notes

    def test_a_collision_mesh_that_is_missing(self, urdf):
        (urdf.parents[1] / "meshes" / "leg.obj").unlink()
        with pytest.raises(UserError, match=r"collision mesh package://two_legs/meshes/leg\.obj"):
            draft(urdf)


def quadruped(body=""):
    legs = "".join(
        f"""<body name="{name}_thigh" pos="{x} {y} 0">
          <joint name="{name}_hip" axis="0 1 0" range="-1 1"/>
          <geom type="capsule" size=".02" fromto="0 0 0 0 0 -.2" mass=".5"/>
          <body name="{name}_foot" pos="0 0 -.2"><geom size=".02" mass=".1"/></body>
        </body>"""
        for name, x, y in (
            ("RR", -0.2, -0.1), ("FL", 0.2, 0.1), ("RL", -0.2, 0.1), ("FR", 0.2, -0.1)
        )
    )  # fmt: skip
    return f"""<mujoco><compiler autolimits="true" angle="radian"/><worldbody>
      <body name="trunk" pos="0 0 1"><freejoint/><geom type="box" size=".2 .1 .05" mass="5"/>
      {legs}{body}</body></worldbody></mujoco>"""


def write(tmp_path, text):
    path = tmp_path / "model.xml"
    path.write_text(text)
    return path


def test_four_feet_front_before_rear_and_left_before_right(tmp_path):
    found = draft(write(tmp_path, quadruped()))
    assert found.feet == ["FL_foot", "FR_foot", "RL_foot", "RR_foot"]
    assert found.home_height == pytest.approx(0.22)
    assert dict(zip([j.name for j in found.joints], found.mirror, strict=True)) == {
        "RR_hip": ("RL_hip", 1.0),
        "RL_hip": ("RR_hip", 1.0),
        "FL_hip": ("FR_hip", 1.0),
        "FR_hip": ("FL_hip", 1.0),
    }
    # Its trunk alone weighs 5 kg, each leg 0.6 kg.
    assert found.joints[0].torque == pytest.approx(7.4 * GRAVITY * 0.22 / 4.0)


def test_arms_and_the_middle_are_groups_of_their_own(tmp_path):
    parts = '<body name="{0}" pos="0 {1} .1"><joint name="{0}" axis="{2}" range="-1 1"/>{3}</body>'
    geom = '<geom size=".02" pos="0 0 .1"/>'
    body = (
        parts.format("left_arm", 0.1, "1 0 0", geom)
        + parts.format("right_arm", -0.1, "-1 0 0", geom)
        + parts.format("neck", 0.0, "0 0 1", geom)
        + parts.format("hook", 0.1, "0 1 0", geom.replace("0 0 .1", ".3 0 .1"))
    )
    found = draft(write(tmp_path, quadruped(body)))
    assert found.joint_groups["arms"] == ["left_arm", "right_arm"]
    assert found.joint_groups["body"] == ["neck", "hook"]
    mirror = dict(zip([j.name for j in found.joints], found.mirror, strict=True))
    assert mirror["left_arm"] == ("right_arm", 1.0)  # its axis points the other way
    assert mirror["neck"] == ("neck", -1.0)
    assert "No mirror image was found for: hook." in found.notes


def test_feet_by_name(tmp_path):
    path = write(tmp_path, quadruped())
    assert draft(path, feet=["RL_foot", "RR_foot"]).feet == ["RL_foot", "RR_foot"]
    with pytest.raises(UserError, match='--feet: unknown body "RL_fot"; did you mean "RL_foot"'):
        draft(path, feet=["RL_fot"])


SLIDE = '<body><joint name="rail" type="slide" range="0 1"/><geom size=".1"/></body>'
ERRORS = {
    "no such file": (None, "cannot be read: No such file"),
    "no xml": ("<mujoco>", "is no XML"),
    "no model": ("<mujoco><nonsense/></mujoco>", "nonsense"),
    "a slide": (quadruped(SLIDE), 'joint "rail" is no hinge; only hinges can be driven'),
    "a joint without a name": (
        quadruped('<body name="tail"><joint range="-1 1"/><geom size=".1"/></body>'),
        "a joint of body tail has no name",
    ),
    "no hinge": (
        "<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>",
        "has no hinge to drive",
    ),
    "fixed to the world": (
        "<mujoco><worldbody><body name='arm'><joint name='j'/><geom size='.1'/></body></worldbody>"
        "</mujoco>",
        "the root body arm is hinged to the world",
    ),
    "two robots": (
        quadruped().replace(
            "</worldbody>", "<body name='b'><freejoint/><geom size='.1'/></body></worldbody>"
        ),
        "must hold one robot, got 2 root bodies (trunk, b)",
    ),
    "nothing to stand on": (
        quadruped().replace("<geom ", "<geom contype='0' conaffinity='0' "),
        "no part can touch a floor",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_models_that_cannot_be_used(name, tmp_path):
    text, expected = ERRORS[name]
    path = tmp_path / "model.xml" if text is None else write(tmp_path, text)
    with pytest.raises(UserError) as error:
        draft(path)
    assert str(error.value).startswith(f"{path}: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
