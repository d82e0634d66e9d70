"""Policies at work: our own as in training, foreign ones with a memory, and what does not fit."""

import json
import math

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from stridelab.export.inference import load_exported
from stridelab.sim2sim.plant import load_plant
from stridelab.sim2sim.playback import Playback, heading_motion
from stridelab_envs.errors import UserError
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.robots import get_robot


@pytest.fixture
def biped(shipped_layouts):
    """Build the biped with the layout that ships."""

    def build(*overrides):
        path = shipped_layouts / "biped17.yaml"
        return load_plant(get_robot("biped17").mjcf, path, overrides)

    return build


class TestBiped:
    def test_moves_as_in_training(self, walker, biped):
        """The same observations as in the environment, step by step, from the same start."""
        still = dict.fromkeys(get_task("biped_walk").randomization)
        task = get_task("biped_walk").with_overrides({"randomization": still})
        env = make_env(task, num_envs=1, seed=0, num_threads=1)
        policy = load_exported(walker)
        playback = Playback(policy, biped())
        obs = env.reset()["policy"]
        for step in range(40):
            frame = playback.plant.observation.frame(playback.read())
            np.testing.assert_allclose(frame, obs[0].numpy(), atol=2e-4, err_msg=f"step {step}")
            obs = env.step(torch.from_numpy(policy(obs.numpy()))).obs["policy"]
            playback.step()
        assert frame[44:46].max() == 1.0  # a foot has touched the ground

    def test_walks_forward(self, walker, biped):
        outcome = Playback(load_exported(walker), biped()).run(4.0)
        assert outcome.falls == 0
        assert outcome.time_survived == pytest.approx(4.0)
        assert 0.55 < outcome.forward_velocity < 0.85  # 0.71 m/s in its evaluation
        assert outcome.distance == pytest.approx(4.0 * outcome.forward_velocity, rel=0.1)

    def test_runs_are_equal(self, walker, biped):
        playback = Playback(load_exported(walker), biped())
        assert playback.run(0.6) == playback.run(0.6)

    def test_falls_without_its_knees(self, walker, biped):
        plant = biped("drive.torque_limit={'*': 3.5, '*_knee': 0.2}")
        outcome = Playback(load_exported(walker), plant).run(4.0)
        assert outcome.falls == 1
        assert outcome.time_survived < 3.0


FAULTS = {
    "joints=[head_pan]": "number of joints is 1, but it was trained with 17",
    "default_pose.*_knee=0.6": "default_pose of right_knee is 0.6, but it was trained with 0.5",
    "action.scale.head_pan=0.5": "action.scale of head_pan is 0.5, but it was trained with 0.3",
    "action.clip=null": "action.clip is None, but it was trained with 3",
    "decimation=2": "control period is 0.01 s, but it was trained with 0.02 s",
    "history.length=2": "history.length is 2, but it was trained with 1",
    "gait_clock.period=0.7": "gait_clock.period is 0.7 s, but it was trained with 0.5 s",
    "observation.terms.joint_vel.scale=1.0": "scale of joint_vel is 1, but it was trained with 0.1",
    "observation.terms.base_lin_vel.signal=base_quat": (
        "term 4 is base_quat, but it was trained with base_lin_vel_world"
    ),
    "observation.terms.last_action=null": "term 8 is last_action, but it was trained with nothing",
    "observation.terms={joint_pos: {}}": "term 2 is nothing, but it was trained with joint_vel",
}


class TestAgreement:
    @pytest.mark.parametrize("override", FAULTS)
    def test_a_layout_against_our_own_metadata(self, walker, biped, override):
        overrides = [override]
        if override.startswith("joints"):
            overrides += ["default_pose=0.0", "action.scale=0.3"]
        with pytest.raises(UserError) as caught:
            Playback(load_exported(walker), biped(*overrides))
        assert str(caught.value) == f"the layout does not fit the policy: {FAULTS[override]}"

    def test_gains_may_differ(self, walker, biped):
        weaker = biped("drive={kind: torque, kp: 20, kd: 0.5}", "timestep=0.001", "decimation=20")
        Playback(load_exported(walker), weaker)

    @pytest.fixture
    def stacked(self, walker):
        """The walker, told that it was trained on three frames."""
        policy = load_exported(walker)
        policy.metadata["history"] = {"length": 3, "order": "oldest_first"}
        return policy

    def test_reversed_history(self, stacked, biped):
        with pytest.raises(UserError) as caught:
            Playback(stacked, biped("history={length: 3, order: newest_first}"))
        assert str(caught.value) == (
            "the layout does not fit the policy: history.order is newest_first, but it was"
            " trained with oldest_first"
        )

    def test_stacking_by_terms(self, stacked, biped):
        with pytest.raises(UserError, match=r"history.stacking is term, but .* with frame"):
            Playback(stacked, biped("history={length: 3, stacking: term}"))

    def test_damaged_metadata(self, walker, biped):
        policy = load_exported(walker)
        del policy.metadata["joints"]
        with pytest.raises(UserError, match="the policy's metadata is damaged: KeyError"):
            Playback(policy, biped())

    def test_width_of_a_foreign_torchscript_policy(self, plant, constant):
        policy = load_exported(constant(8, [0.0, 0.0]))
        with pytest.raises(UserError) as caught:
            Playback(policy, plant())
        text = str(caught.value)
        assert "the policy does not take an observation [1, 9]" in text
        assert text.endswith(
            "; the layout gives 9 (command 3, joint_pos 2, joint_vel 2, last_action 2)"
        )

    def test_width_of_a_foreign_onnx_policy(self, plant, onnx_policy):
        with pytest.raises(UserError) as caught:
            Playback(load_exported(onnx_policy(size=12)), plant(history={"length": 2}))
        assert str(caught.value) == (
            "the policy takes 12 inputs, the layout gives 9 x 2 = 18"
            " (command 3, joint_pos 2, joint_vel 2, last_action 2)"
        )

    def test_number_of_actions(self, plant, constant):
        with pytest.raises(UserError, match="the policy gives 3 actions, the layout has 2 joints"):
            Playback(load_exported(constant(9, [0.0, 0.0, 0.0])), plant())

    def test_a_command_that_nobody_hears(self, walker, biped):
        with pytest.raises(UserError, match="no term that --command could set"):
            Playback(load_exported(walker), biped(), [0.5, 0.0, 0.0])


@pytest.fixture
def onnx_policy(tmp_path):
    """Write a foreign ONNX policy: the first two entries of the observation, plus its memory."""

    def write(size=9, state=False):
        floats = TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info("obs", floats, [1, size])]
        outputs = [helper.make_tensor_value_info("actions", floats, [1, 2])]
        start, end, axis = (
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in (("start", 0), ("end", 2), ("axis", 1))
        )
        one = helper.make_tensor("one", floats, [1], [1.0])
        nodes = [helper.make_node("Slice", ["obs", "start", "end", "axis"], ["first"])]
        if state:
            inputs.append(helper.make_tensor_value_info("h_in", floats, [1, 1]))
            outputs.append(helper.make_tensor_value_info("h_out", floats, [1, 1]))
            nodes.append(helper.make_node("Add", ["h_in", "one"], ["h_out"]))
            nodes.append(helper.make_node("Add", ["first", "h_out"], ["actions"]))
        else:
            nodes.append(helper.make_node("Add", ["first", "one"], ["actions"]))
        graph = helper.make_graph(nodes, "policy", inputs, outputs, [start, end, axis, one])
        opset = [helper.make_opsetid("", 18)]
        path = tmp_path / "foreign.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
        return path

    return write


class TestForeign:
    def actions(self, playback, count=3):
        """The last actions after each of the first control steps."""
        return [playback.step().last_action.tolist() for _ in range(count)]

    def test_torchscript_keeps_its_memory(self, plant, counter):
        policy = load_exported(counter(2), reset_method="reset_memory")
        playback = Playback(policy, plant(action={"scale": 0.01}))
        assert self.actions(playback) == [[1, 1], [2, 2], [3, 3]]  # the check before left no trace
        playback.run(0.02)
        assert playback.read().last_action.tolist() == [2, 2]

    def test_torchscript_without_a_method_is_read_again(self, plant, counter):
        playback = Playback(load_exported(counter(2)), plant(action={"scale": 0.01}))
        assert self.actions(playback) == [[1, 1], [2, 2], [3, 3]]
        playback.run(0.01)
        assert playback.read().last_action.tolist() == [1, 1]

    def test_onnx_with_state(self, plant, onnx_policy):
        policy = load_exported(onnx_policy(state=True), state={"h_in": "h_out"})
        playback = Playback(policy, plant(action={"scale": 0.01}), [0.5, -1.0, 0.0])
        # The command's scale is 2, so the observation begins with 1, -2.
        assert self.actions(playback) == [[2, -1], [3, 0], [4, 1]]
        playback.run(0.01)
        assert playback.read().last_action.tolist() == [2, -1]

    def test_onnx_with_a_state_that_nobody_named(self, onnx_policy):
        with pytest.raises(UserError, match=r"one input for the observation, has 2 \(obs, h_in\)"):
            load_exported(onnx_policy(state=True))

    def test_onnx_without_state(self, plant, onnx_policy):
        playback = Playback(load_exported(onnx_policy()), plant(action={"scale": 0.01}))
        assert self.actions(playback, 2) == [[1, 1], [1, 1]]

    def test_action_is_clipped_scaled_and_added_to_the_pose(self, plant, constant):
        policy = load_exported(constant(9, [3.0, -0.4]))
        built = plant()
        targets = []
        step = built.step
        built.step = lambda target: targets.append(target.tolist()) or step(target)
        playback = Playback(policy, built)
        assert playback.step().last_action == pytest.approx([2.0, -0.4])
        assert targets[0] == pytest.approx([0.1 + 0.5 * 2.0, -0.2 - 0.5 * 0.4])

    def test_not_a_number(self, plant, constant):
        policy = load_exported(constant(9, [math.nan, 0.0]))
        with pytest.raises(UserError, match=r"the policy's action is not finite after 0\.00 s"):
            Playback(policy, plant()).run(1.0)


def test_clock_runs_with_the_control_steps(plant, constant, tree):
    tree["observation"]["terms"] = {"gait_clock": {}}
    built = plant(gait_clock={"period": 0.04}, observation=tree["observation"])
    playback = Playback(load_exported(constant(2, [0.0, 0.0])), built)
    phases = [playback.read().phase] + [playback.step().phase for _ in range(4)]
    assert phases == pytest.approx([0.0, 0.25, 0.5, 0.75, 0.0])


class TestMeasures:
    def test_motion_in_the_heading_frame(self, reading):
        """Turned left by 90 degrees and pitched by 0.4 rad, moving to world +y and -x."""
        quat = np.zeros(4)
        yaw, pitch = (
            np.array([math.cos(a / 2), 0, 0, math.sin(a / 2)]) for a in (math.pi / 2, 0.4)
        )
        pitch = np.array([pitch[0], 0.0, pitch[3], 0.0])
        import mujoco

        mujoco.mju_mulQuat(quat, yaw, pitch)
        now = reading(quat=quat, lin_vel_world=(-0.3, 0.8, 0.1), ang_vel=(0.0, 0.0, 1.0))
        forward, left, yaw_rate = heading_motion(now)
        assert (forward, left) == (pytest.approx(0.8), pytest.approx(0.3))
        assert yaw_rate == pytest.approx(math.cos(0.4))

    def test_of_a_robot_that_drifts(self, plant, constant):
        """No gravity and no torque: it keeps the speed it was given."""
        built = plant(drive={"kind": "torque", "kp": 0.0, "kd": 0.0})
        reset = built.reset

        def push():
            reset()
            built.data.qvel[:2] = [0.3, -0.4]

        built.reset = push
        seen = []
        policy = load_exported(constant(9, [0.0, 0.0]))
        outcome = Playback(policy, built, [1.0, 0.0, 0.5]).run(0.5, lambda: seen.append(1))
        assert len(seen) == 50
        assert outcome.distance == pytest.approx(0.25)
        assert outcome.forward_velocity == pytest.approx(0.3)
        assert outcome.lateral_velocity == pytest.approx(-0.4)
        assert outcome.yaw_rate == pytest.approx(0.0, abs=1e-9)
        assert outcome.flat()["command"] == [1.0, 0.0, 0.5]
        assert json.loads(json.dumps(outcome.flat()))["falls"] == 0

    def test_of_a_robot_that_falls(self, plant, constant, robot):
        xml = robot.read_text().replace('gravity="0 0 0"', 'gravity="0 0 -10"')
        outcome = Playback(load_exported(constant(9, [0.0, 0.0])), plant(xml)).run(5.0)
        assert outcome.falls == 1
        # From 1 m to 0.5 m in free fall: sqrt(2 * 0.5 / 10) s.
        assert outcome.time_survived == pytest.approx(0.32, abs=0.011)


def test_x1_stands_in_its_layout(shipped_layouts, tmp_path, constant):
    """Widths of the published pipeline, and gains that hold it up with action zero."""
    plant = load_plant(get_robot("x1").mjcf, shipped_layouts / "x1.yaml")
    policy = load_exported(constant(3102, [0.0] * 12))
    outcome = Playback(policy, plant, [0.0, 0.0, 0.0]).run(0.4)
    assert outcome.falls == 0
    assert plant.control_dt == pytest.approx(0.01)
    assert abs(outcome.forward_velocity) < 0.3
