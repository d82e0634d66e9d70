"""Observation frames by hand, history in every order, and the training's own terms as witness."""

import math

import mujoco
import numpy as np
import pytest
import torch

from stridelab.sim2sim.layout import validate
from stridelab.sim2sim.observation import ObservationBuilder
from stridelab.sim2sim.plant import build_model, load_plant
from stridelab.sim2sim.signals import SIGNALS, Reading
from stridelab_envs.mdp import gait_observations, observations
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.robots import get_robot

HALF = math.sqrt(0.5)


def builder(tree, example, **changes):
    return ObservationBuilder(validate(tree | changes), example)


class TestSignals:
    @pytest.mark.parametrize(
        ("quat", "euler", "gravity"),
        [
            ((1, 0, 0, 0), (0, 0, 0), (0, 0, -1)),
            ((HALF, 0, 0, HALF), (0, 0, math.pi / 2), (0, 0, -1)),  # turned left
            ((HALF, 0, HALF, 0), (0, math.pi / 2, 0), (1, 0, 0)),  # nose down
            ((HALF, HALF, 0, 0), (math.pi / 2, 0, 0), (0, -1, 0)),  # on the right side
            ((math.cos(0.1), 0, math.sin(0.1), 0), (0, 0.2, 0), (math.sin(0.2), 0, -math.cos(0.2))),
        ],
    )
    def test_orientation(self, reading, quat, euler, gravity):
        now = reading(quat=quat)
        np.testing.assert_allclose(SIGNALS["projected_gravity"](now), gravity, atol=1e-9)
        if quat[2] != HALF:  # where the nose points straight down, roll and yaw are one
            np.testing.assert_allclose(SIGNALS["base_rpy"](now), euler, atol=1e-9)
        else:
            assert SIGNALS["base_rpy"](now)[1] == pytest.approx(math.pi / 2, abs=1e-6)

    def test_yaw_roll_and_pitch_are_turned_in_this_order(self, reading):
        """Rz(0.3) Ry(-0.2) Rx(0.1), multiplied out by MuJoCo."""
        quat = np.array([1.0, 0.0, 0.0, 0.0])
        for axis, angle in (((0, 0, 1), 0.3), ((0, 1, 0), -0.2), ((1, 0, 0), 0.1)):
            turn = np.zeros(4)
            mujoco.mju_axisAngle2Quat(turn, np.array(axis, dtype=float), angle)
            mujoco.mju_mulQuat(quat, quat.copy(), turn)
        np.testing.assert_allclose(SIGNALS["base_rpy"](reading(quat=quat)), [0.1, -0.2, 0.3])

    def test_velocity_in_the_body_frame(self, reading):
        now = reading(quat=(HALF, 0, 0, HALF), lin_vel_world=(0.0, 2.0, 0.5))
        np.testing.assert_allclose(SIGNALS["base_lin_vel"](now), [2.0, 0.0, 0.5], atol=1e-9)

    def test_clock(self, reading):
        for phase, expected in ((0.0, (0, 1)), (0.25, (1, 0)), (0.5, (0, -1))):
            now = reading(clock=phase, phase=0.3)
            np.testing.assert_allclose(SIGNALS["gait_clock"](now), expected, atol=1e-9)
            now = reading(clock=0.3, phase=phase)
            np.testing.assert_allclose(SIGNALS["gait_phase"](now), expected, atol=1e-9)

    def test_parts_of_the_command(self, reading):
        now = reading(command=(0.5, -0.1, 0.2))
        assert SIGNALS["lin_vel_command"](now).tolist() == [0.5, -0.1]
        assert SIGNALS["ang_vel_command"](now).tolist() == [0.2]

    def test_agree_with_the_terms_of_training(self):
        """Two implementations of every name that both know."""
        env = make_env(get_task("biped_walk"), num_envs=1, seed=0, num_threads=1)
        draw = torch.Generator().manual_seed(5)
        sim, state = env.sim, env.state
        sim.qpos[0, :3] += 1.0
        sim.qpos[0, 3:7] = torch.nn.functional.normalize(torch.randn(4, generator=draw), dim=0)
        sim.qpos[0, 7:] = torch.randn(17, generator=draw)
        sim.qvel[0] = torch.randn(23, generator=draw)
        sim.forward(torch.tensor([0]))
        state.end_step()
        state.action = torch.randn(1, 17, generator=draw)
        qpos, qvel = sim.qpos[0].numpy().copy(), sim.qvel[0].numpy().copy()
        reading = Reading(
            quat=qpos[3:7],
            lin_vel_world=qvel[:3],
            ang_vel=qvel[3:6],
            joint_pos=qpos[7:],
            joint_vel=qvel[6:],
            default_pose=np.array(env.robot.default_pose),
            last_action=state.action[0].double().numpy(),
            foot_contact=np.zeros(2),
            command=np.zeros(3),
            clock=2.0 * env.control_dt,
            phase=0.0,
        )
        theirs = vars(observations) | {"base_rpy": gait_observations.base_rpy}
        common = [name for name in SIGNALS if name in theirs and name != "command"]
        assert len(common) >= 12
        for name in common:
            params = {"frequency": 2.0} if name == "gait_clock" else {}
            value = theirs[name](state, **params)[0].numpy()
            np.testing.assert_allclose(SIGNALS[name](reading), value, atol=2e-6, err_msg=name)

    @pytest.mark.parametrize("task", ["biped_walk", "x1_walk", "h1_walk"])
    def test_every_term_of_a_walking_policy_can_be_played(self, task):
        terms = get_task(task).observations["policy"].values()
        assert {term.func.__name__ for term in terms} <= SIGNALS.keys()


class TestFrame:
    def test_small_layout_by_hand(self, tree, reading):
        now = reading(
            command=(0.5, -0.25, 0.4),
            joint_pos=(0.3, 0.1),
            default_pose=(0.1, -0.2),
            joint_vel=(5.0, -2.0),
            last_action=(0.7, -0.9),
        )
        built = builder(tree, now)
        expected = [1.0, -0.5, 0.1, 0.2, 0.3, 0.5, -0.2, 0.7, -0.9]
        np.testing.assert_allclose(built.frame(now), expected, atol=1e-12)
        assert built.columns["joint_vel"] == slice(5, 7)
        assert built.describe() == "9 (command 3, joint_pos 2, joint_vel 2, last_action 2)"

    def test_clipping_of_a_term_and_of_the_whole(self, tree, reading):
        tree["observation"] = {
            "terms": {"joint_vel": {"scale": 2.0, "clip": 3.0}, "joint_pos": None},
            "clip": 4.0,
        }
        now = reading(joint_vel=(1.0, -9.0), joint_pos=(9.0, -5.0))
        assert builder(tree, now).frame(now).tolist() == [2.0, -3.0, 4.0, -4.0]

    def test_x1(self, shipped_layouts):
        """The 47 values of the published pipeline, newest frame at the end of 3102."""
        plant = load_plant(get_robot("x1").mjcf, shipped_layouts / "x1.yaml")
        assert plant.joints == get_robot("x1").joints
        now = Reading(
            quat=np.array([math.cos(0.1), 0.0, 0.0, math.sin(0.1)]),
            lin_vel_world=np.zeros(3),
            ang_vel=np.array([0.1, 0.2, 0.3]),
            joint_pos=plant.default_pose + 0.01 * np.arange(12),
            joint_vel=np.arange(12.0),
            default_pose=plant.default_pose,
            last_action=np.linspace(-1.0, 1.0, 12),
            foot_contact=np.zeros(0),
            command=np.array([0.5, -0.1, 0.2]),
            clock=0.0,
            phase=1 / 12,
        )
        built = ObservationBuilder(plant.layout, now)
        expected = [
            *(0.5, math.sqrt(3) / 2),
            *(1.0, -0.2, 0.2),
            *(0.01 * np.arange(12)),
            *(0.05 * np.arange(12)),
            *np.linspace(-1.0, 1.0, 12),
            *(0.1, 0.2, 0.3),
            *(0.0, 0.0, 0.2),
        ]
        observation = built.observe(now)
        assert observation.shape == (1, 3102)
        assert observation.dtype == np.float32
        np.testing.assert_allclose(observation[0, 3055:], expected, atol=1e-6)
        np.testing.assert_allclose(observation[0, :47], expected, atol=1e-6)

    @pytest.mark.parametrize(("joints", "width"), [(12, 47), (10, 41)])
    def test_humanoid_legs(self, shipped_layouts, tmp_path, joints, width):
        """One layout for models of either kind, with the names of the published ones."""
        names = ["hip_yaw", "hip_roll", "hip_pitch", "knee", "ankle_pitch", "ankle_roll"]
        names = names if joints == 12 else [*names[:4], "ankle"]
        legs = [f"{side}_{name}_joint" for side in ("left", "right") for name in names]
        bodies = "".join(
            f'<body><joint name="{name}"/><geom size="0.1" mass="1"/></body>' for name in legs
        )
        motors = "".join(f'<motor joint="{name}"/>' for name in legs)
        path = tmp_path / "legs.xml"
        path.write_text(
            f'<mujoco><worldbody><body name="pelvis" pos="0 0 1"><freejoint/>'
            f'<geom size="0.1"/>{bodies}</body></worldbody><actuator>{motors}</actuator></mujoco>'
        )
        plant = load_plant(path, shipped_layouts / "humanoid_legs.yaml")
        assert list(plant.joints) == legs
        now = plant.read(
            time=0.2, command=np.array([0.5, 0.1, 0.4]), last_action=np.full(joints, 0.3)
        )
        built = ObservationBuilder(plant.layout, now)
        assert built.frame_size == built.size == width
        frame = built.frame(now)
        np.testing.assert_allclose(frame[3:9], [0, 0, -1, 1.0, 0.2, 0.1], atol=1e-9)
        np.testing.assert_allclose(frame[-2:], [1, 0], atol=1e-9)
        np.testing.assert_allclose(frame[built.columns["last_action"]], 0.3)
        pose = dict(zip(legs, plant.default_pose, strict=True))
        assert pose["left_hip_pitch_joint"] == -0.1
        assert pose["right_knee_joint"] == 0.3
        assert pose["left_ankle_pitch_joint" if joints == 12 else "left_ankle_joint"] == -0.2


class TestHistory:
    def play(self, tree, reading, count=4, **history):
        """Observe frames (k, k / 10) for k = 1, 2, ... and return all observations."""
        tree["observation"] = {
            "terms": {"joint_pos": None, "joint_vel": {"scale": 0.1}},
        }
        frames = [reading(joint_pos=(k, -k), joint_vel=(k, -k)) for k in range(1, count + 1)]
        built = builder(tree, frames[0], history={"length": 3, **history})
        return [built.observe(f)[0].astype(float).round(3).tolist() for f in frames], built

    def firsts(self, observations):
        """The first entry of each of three frames of four."""
        return [observation[::4] for observation in observations]

    def test_oldest_first_from_the_first_frame(self, tree, reading):
        seen, built = self.play(tree, reading)
        assert self.firsts(seen) == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
        assert seen[3][:4] == [2.0, -2.0, 0.2, -0.2]
        assert (built.frame_size, built.size) == (4, 12)
        assert built.describe() == "4 x 3 = 12 (joint_pos 2, joint_vel 2)"

    def test_newest_first(self, tree, reading):
        seen, _ = self.play(tree, reading, order="newest_first")
        assert self.firsts(seen) == [[1, 1, 1], [2, 1, 1], [3, 2, 1], [4, 3, 2]]
        assert seen[3][:4] == [4.0, -4.0, 0.4, -0.4]

    def test_from_zeros(self, tree, reading):
        seen, _ = self.play(tree, reading, start="zeros")
        assert self.firsts(seen)[:2] == [[0, 0, 1], [0, 1, 2]]

    def test_term_by_term(self, tree, reading):
        seen, _ = self.play(tree, reading, stacking="term")
        assert seen[3] == [2, -2, 3, -3, 4, -4, 0.2, -0.2, 0.3, -0.3, 0.4, -0.4]

    def test_reset_forgets(self, tree, reading):
        _, built = self.play(tree, reading)
        built.reset()
        assert built.observe(reading(joint_pos=(9, -9)))[0][::4].tolist() == [9, 9, 9]

    def test_frames_already_observed_do_not_change(self, tree, reading):
        """A reading made of views of the simulation would move under the history."""
        tree["observation"] = {"terms": {"joint_pos": None}}
        frames = builder(tree, reading(), history={"length": 2})
        position = np.array([1.0, 1.0])
        now = reading()
        object.__setattr__(now, "joint_pos", position)
        frames.observe(now)
        position += 1.0
        assert frames.observe(now)[0].tolist() == [1.0, 1.0, 2.0, 2.0]


def test_model_of_the_robot_alone_gets_a_floor(tmp_path):
    alone = build_model(get_robot("biped17").mjcf)
    assert mujoco.mj_name2id(alone, mujoco.mjtObj.mjOBJ_GEOM, "floor") >= 0
    scene = tmp_path / "scene.xml"
    scene.write_text(
        '<mujoco><worldbody><geom name="ground" type="plane" size="5 5 1"/>'
        "<body><freejoint/><geom size='0.1'/></body></worldbody></mujoco>"
    )
    assert build_model(scene).ngeom == 2
