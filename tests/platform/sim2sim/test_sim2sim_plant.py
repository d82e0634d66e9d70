"""The robot in plain MuJoCo: what drives it, what limits it, when it falls."""

import mujoco
import numpy as np
import pytest

from stridelab.sim2sim.layout import GaitClockSection
from stridelab.sim2sim.plant import gait_phases, load_plant
from stridelab_envs.errors import ConfigError, UserError

GROUND = '<worldbody><geom type="plane" size="5 5 1"/></worldbody>'


def forces(plant):
    """Generalised forces of actuators and applied ones on left and right hip."""
    return (plant.data.qfrc_actuator + plant.data.qfrc_applied)[6:8]


def one_step(plant, target):
    plant.step(np.array(target))
    return plant


class TestTorqueDrive:
    def test_pd_by_hand(self, plant):
        """kp (target - q) - kd dq at the state before the only physics step."""
        built = plant(decimation=1)
        built.data.qpos[7:9] = [0.3, 0.1]
        built.data.qvel[6:8] = [0.5, -1.0]
        one_step(built, [0.4, 0.2])
        np.testing.assert_allclose(forces(built), [20 * 0.1 - 0.5, 10 * 0.1 + 1.0], atol=1e-12)

    def test_is_computed_at_every_physics_step(self, plant):
        built = plant(decimation=3)
        one_step(built, [0.2, -0.1])
        before = plant(decimation=2)
        one_step(before, [0.2, -0.1])
        q, dq = before.data.qpos[7:9], before.data.qvel[6:8]
        expected = np.array([20, 10]) * (np.array([0.2, -0.1]) - q) - dq
        np.testing.assert_allclose(forces(built), expected, atol=1e-12)
        assert built.data.time == pytest.approx(0.006)
        assert built.control_dt == pytest.approx(0.006)

    def test_own_limit(self, plant):
        drive = {"kind": "torque", "kp": 100.0, "kd": 0.0, "torque_limit": [2.0, 1.5]}
        built = one_step(plant(decimation=1, drive=drive), [1.0, -1.0])
        np.testing.assert_allclose(forces(built), [2.0, -1.5])

    def test_limits_of_the_model_act_as_well(self, plant):
        """Left: force range 5 N m of the position actuator; right: gear 2 times control 3."""
        drive = {"kind": "torque", "kp": 100.0, "kd": 0.0}
        built = one_step(plant(decimation=1, drive=drive), [1.0, -1.0])
        np.testing.assert_allclose(forces(built), [5.0, -6.0])

    def test_joint_without_an_actuator_gets_an_applied_force(self, plant):
        built = plant(
            decimation=1,
            joints=["neck", "left_hip", "right_hip"],
            default_pose=0.0,
            drive={"kind": "torque", "kp": 10.0, "kd": 0.0, "torque_limit": 2.5},
        )
        one_step(built, [0.2, 0.0, 0.0])
        assert built.data.qfrc_applied[8] == pytest.approx(2.0)
        one_step(built, [1.0, 0.0, 0.0])
        assert built.data.qfrc_applied[8] == pytest.approx(2.5)


class TestPositionDrive:
    ROBOT = """
    <mujoco><option gravity="0 0 0"/><worldbody><body name="base"><freejoint/>
      <geom size="0.2" mass="10"/>
      <body><joint name="a"/><geom size="0.1" mass="1"/></body>
      <body><joint name="b"/><geom size="0.1" mass="1"/></body></body></worldbody>
    <actuator><position joint="b" kp="40" kv="2" forcerange="-5 5"/>
      <position joint="a" kp="30" kv="1" forcerange="-5 5"/></actuator></mujoco>
    """

    def step(self, plant, **drive):
        built = plant(
            self.ROBOT,
            joints=["a", "b"],
            default_pose=0.0,
            decimation=1,
            drive={"kind": "position", **drive},
        )
        built.data.qvel[6:8] = [0.1, 0.2]
        return forces(one_step(built, [0.1, -0.05]))

    def test_gains_of_the_model(self, plant):
        np.testing.assert_allclose(self.step(plant), [3.0 - 0.1, -2.0 - 0.4], atol=1e-9)

    def test_gains_of_the_layout(self, plant):
        forces = self.step(plant, kp=[10.0, 20.0], kd=0.5)
        np.testing.assert_allclose(forces, [1.0 - 0.05, -1.0 - 0.1], atol=1e-9)

    def test_limit_of_the_layout(self, plant):
        np.testing.assert_allclose(
            self.step(plant, torque_limit=[2.0, 9.0]), [2.0, -2.4], atol=1e-9
        )

    def test_what_the_layout_does_not_name_stays_the_models(self, plant):
        changed = {"kp": {"b": 20.0}, "torque_limit": {"a": 2.0}}
        np.testing.assert_allclose(self.step(plant, **changed), [2.0, -1.0 - 0.4], atol=1e-9)
        built = plant(dynamics={"armature": {"left*": 0.3}})
        assert built.model.dof_armature[6:8].tolist() == [0.3, 0.1]

    def test_needs_position_actuators(self, plant):
        with pytest.raises(ConfigError, match=r'drive.kind: position needs .* joint "right_hip"'):
            plant(drive={"kind": "position"})


class TestHeldJoints:
    NECK = '<position joint="neck" kp="30" kv="1"/></actuator>'

    def test_hold_their_initial_place(self, plant, robot):
        xml = robot.read_text().replace("</actuator>", self.NECK)
        built = plant(xml.replace('axis="0 0 1"', 'axis="0 0 1" ref="0.4"'))
        assert built.data.ctrl[2] == pytest.approx(0.4)
        for _ in range(20):
            one_step(built, [0.3, 0.3])
        assert built.data.qpos[9] == pytest.approx(0.4, abs=0.02)

    def test_by_a_motor_cannot_be(self, plant, robot):
        xml = robot.read_text().replace("</actuator>", '<motor joint="neck"/></actuator>')
        with pytest.raises(ConfigError, match=r'joints: leaves out "neck"'):
            plant(xml)

    def test_joints_left_out_of_the_layout_are_those_driven(self, plant):
        """In the order of the actuators, which differs from that of the joints."""
        assert plant(joints=None).joints == ("right_hip", "left_hip")


class TestDynamics:
    def test_only_the_joints_of_the_policy_change(self, plant):
        built = plant(dynamics={"damping": 1.0, "armature": [0.2, 0.3], "friction": {"*": 0.5}})
        assert built.model.dof_damping.tolist() == [0.0] * 6 + [1.0, 1.0, 0.0]
        assert built.model.dof_armature.tolist() == [0.0] * 6 + [0.2, 0.3, 0.0]
        assert built.model.dof_frictionloss.tolist() == [0.0] * 6 + [0.5, 0.5, 0.0]
        built.data.qvel[6:8] = [1.0, -2.0]
        mujoco.mj_forward(built.model, built.data)
        assert built.data.qfrc_passive[6:8].tolist() == [-1.0, 2.0]

    def test_nothing_changes_unasked(self, plant):
        built = plant()
        assert built.model.dof_armature.tolist() == [0.0] * 6 + [0.1, 0.1, 0.0]
        assert built.model.dof_damping.tolist() == [0.0] * 9


class TestStart:
    def test_pose_and_height(self, plant):
        built = plant(base_height=0.7)
        one_step(built, [1.0, 1.0])
        built.reset()
        assert built.base_pos.tolist() == [0.0, 0.0, 0.7]
        assert built.data.qpos[7:10].tolist() == [0.1, -0.2, 0.0]
        assert np.abs(built.data.qvel).max() == 0.0
        assert built.data.time == 0.0


class TestFeet:
    ROBOT = """
    <mujoco><worldbody><geom type="plane" size="5 5 1"/>
      <body name="base" pos="0 0 0.498"><freejoint/>
        <geom type="box" size="0.2 0.1 0.1" mass="2"/>
        <body name="left_foot" pos="0 0.3 -0.4"><joint name="left_hip"/>
          <geom type="box" size="0.2 0.1 0.1" mass="4"/></body>
        <body name="right_foot" pos="0 -0.3 -0.4"><joint name="right_hip"/>
          <geom type="box" size="0.2 0.1 0.1" mass="4"/></body></body></worldbody></mujoco>
    """

    def build(self, plant, **feet):
        return plant(
            self.ROBOT,
            default_pose=0.0,
            drive={"kind": "torque", "kp": 500.0, "kd": 20.0},
            feet={"bodies": ["right_foot", "left_foot"], **feet},
        )

    def contact(self, built):
        return built.read(time=0.0, command=np.zeros(3), last_action=np.zeros(2)).foot_contact

    def test_standing_feet_carry_the_weight(self, plant):
        built = self.build(plant)
        assert self.contact(built).tolist() == [0.0, 0.0]  # nothing is known before the first step
        for _ in range(100):
            one_step(built, [0.0, 0.0])
        assert built._vertical_forces().sum() == pytest.approx(10 * 9.81, rel=0.01)
        assert self.contact(built).tolist() == [1.0, 1.0]

    def test_threshold_is_a_force(self, plant):
        built = self.build(plant, force=80.0)
        for _ in range(100):
            one_step(built, [0.0, 0.0])
        assert self.contact(built).tolist() == [0.0, 0.0]

    def test_one_foot_in_the_air(self, plant):
        built = self.build(plant)
        built.data.qpos[2] += 0.5
        one_step(built, [0.0, 0.0])
        assert self.contact(built).tolist() == [0.0, 0.0]


class TestFall:
    def fallen(self, built):
        return built.fallen(built.read(time=0.0, command=np.zeros(3), last_action=np.zeros(2)))

    def test_too_low(self, plant):
        built = plant()
        assert not self.fallen(built)
        built.data.qpos[2] = 0.51
        assert not self.fallen(built)
        built.data.qpos[2] = 0.49
        assert self.fallen(built)
        chosen = plant(fall={"height": 0.3})
        chosen.data.qpos[2] = 0.49
        assert not self.fallen(chosen)

    @pytest.mark.parametrize(("angle", "fell"), [(1.0, False), (1.1, True), (3.0, True)])
    def test_tilted(self, plant, angle, fell):
        built = plant()
        built.data.qpos[3:7] = [np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0]
        assert self.fallen(built) == fell

    def test_turning_is_no_fall(self, plant):
        built = plant()
        built.data.qpos[3:7] = [0.0, 0.0, 0.0, 1.0]
        assert not self.fallen(built)


class TestClock:
    CLOCK = GaitClockSection(period=0.8, stand_below=0.05, stand_phase=0.25)

    @pytest.mark.parametrize(
        ("time", "command", "clock", "phase"),
        [
            (0.0, (1, 0, 0), 0.0, 0.0),
            (0.2, (1, 0, 0), 0.25, 0.25),
            (0.9, (0, 0, 0.06), 0.125, 0.125),
            (0.4, (0.03, 0.04, 0), 0.5, 0.25),
            (0.7, (0, 0, 0), 0.875, 0.25),
        ],
    )
    def test_phases(self, time, command, clock, phase):
        phases = gait_phases(self.CLOCK, time, np.array(command))
        assert phases == pytest.approx((clock, phase))

    def test_never_stands(self):
        assert gait_phases(GaitClockSection(period=0.8), 0.2, np.zeros(3)) == (0.25, 0.25)

    def test_none(self):
        assert gait_phases(None, 1.0, np.zeros(3)) == (0.0, 0.0)


def test_a_simulation_that_blows_up_is_told(plant):
    built = plant(
        timestep=0.02,
        joints=["left_hip", "right_hip", "neck"],
        default_pose=0.0,
        drive={"kind": "torque", "kp": 1e6, "kd": 1e5},
    )
    with pytest.raises(UserError, match=r"the simulation blew up after 0\.\d\d s; the layout's"):
        for _ in range(50):
            one_step(built, [0.1, -0.1, 0.5])


class TestModelFile:
    def refusal(self, path, tmp_path):
        (tmp_path / "layout.yaml").write_text("{}")
        with pytest.raises(UserError) as caught:
            load_plant(path, tmp_path / "layout.yaml")
        return str(caught.value)

    def test_missing(self, tmp_path):
        assert self.refusal(tmp_path / "a.xml", tmp_path).endswith("a.xml: there is no such file")

    def test_fixed_to_the_world(self, tmp_path, plant):
        with pytest.raises(UserError, match="no free joint"):
            plant(
                '<mujoco><worldbody><body><joint name="left_hip"/><geom size="1"/>'
                '<body><joint name="right_hip"/><geom size="1"/></body></body></worldbody></mujoco>'
            )

    @pytest.mark.parametrize("text", ["", "no xml", "<mujoco><worldboddy/></mujoco>"])
    def test_damaged(self, tmp_path, robot, tree, text):
        from stridelab.experiment.yaml_text import dump_yaml

        robot.write_text(text)
        (tmp_path / "layout.yaml").write_text(dump_yaml(tree))
        with pytest.raises(UserError) as caught:
            load_plant(robot, tmp_path / "layout.yaml")
        assert str(caught.value).startswith(f"{robot}: ")
        assert str(caught.value).isprintable()
