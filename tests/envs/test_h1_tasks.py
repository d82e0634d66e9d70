"""The four skill tasks of the H1: what they show, what they share, where episodes start."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stridelab_envs import tasks
from stridelab_envs.registry import get_task
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks import h1

BLOCKS = {
    "h1_walk": {"velocity_command": 3},
    "h1_reach": {"wrist_command": 6, "wrist_error": 6},
    "h1_squat": {"height_command": 1, "height_error": 1},
    "h1_step": {"foot_error": 4},
}
"""What each skill sees of its command: term and width."""
PROPRIOCEPTION = {
    "gait_clock": 2,
    "joint_pos": 19,
    "joint_vel": 19,
    "last_action": 19,
    "base_ang_vel": 3,
    "projected_gravity": 3,
}
EXTRAS = {
    "base_lin_vel": 3,
    "base_height": 1,
    "foot_contact": 2,
    "foot_force": 2,
    "friction": 1,
    "torso_mass": 1,
}
PRIVILEGED = {
    "h1_walk": {"mean_velocity": 3},
    "h1_reach": {"time_left": 1},
    "h1_squat": {"time_left": 1},
    "h1_step": {"time_left": 1},
}
NOISE = {"joint_pos": 0.03, "joint_vel": 0.015, "base_ang_vel": 0.06, "projected_gravity": 0.02}
"""Half-width of the noise, as the policy sees it."""
METRICS = {
    "h1_walk": {"lin_vel_error", "yaw_rate_error", "lin_vel_x", "curriculum"},
    "h1_reach": {"wrist_error", "wrist_error_all"},
    "h1_squat": {"height_error"},
    "h1_step": {"foot_error", "moving_foot_error"},
}
each = pytest.mark.parametrize("task_id", BLOCKS)


def widths(layout):
    """Term to width, after checking that the columns follow each other."""
    end = 0
    for columns in layout.values():
        assert columns.start == end
        end = columns.stop
    return {name: columns.stop - columns.start for name, columns in layout.items()}


@each
def test_layouts(make_h1, task_id):
    layouts = make_h1(task_id, num_envs=1).layouts
    assert layouts.keys() == {"policy", "critic"}
    seen = BLOCKS[task_id] | PROPRIOCEPTION
    policy, critic = widths(layouts["policy"]), widths(layouts["critic"])
    assert list(policy.items()) == list(seen.items())
    assert list(critic.items()) == list((seen | EXTRAS | PRIVILEGED[task_id]).items())
    # The block that all skills share: clock and 63 numbers, last, in the same order.
    block = sum(BLOCKS[task_id].values())
    assert layouts["policy"]["joint_pos"].start == block + 2
    assert layouts["policy"]["projected_gravity"].stop == block + 65


@each
def test_the_critic_sees_what_the_policy_sees_without_noise(make_h1, task_id):
    env = make_h1(task_id, num_envs=64)
    obs = env.reset()
    for name, columns in env.layouts["policy"].items():
        difference = (obs["policy"][:, columns] - obs["critic"][:, columns]).abs()
        if name in NOISE:
            assert 0.9 * NOISE[name] < difference.max() <= NOISE[name] + 1e-6, name
            assert difference.mean().item() == pytest.approx(NOISE[name] / 2, rel=0.2), name
        else:
            assert difference.max() == 0.0, name


@each
def test_what_a_robot_sees_that_stands(make_h1, task_id):
    env = make_h1(task_id)
    critic = env.reset()["critic"]
    seen = {name: critic[:, columns] for name, columns in env.layouts["critic"].items()}
    for name in ("joint_pos", "joint_vel", "last_action", "base_ang_vel", "base_lin_vel"):
        assert seen[name].abs().max() < 1e-6, name
    assert seen["projected_gravity"].tolist() == [[0.0, 0.0, -1.0]] * 2
    assert seen["base_height"].tolist() == [pytest.approx([0.981])] * 2
    assert seen["friction"].tolist() == [[1.0]] * 2
    assert seen["torso_mass"].tolist() == [pytest.approx([17.789 / 30])] * 2


COMMANDED = {
    # Command, what is asked for, and what the policy sees of it: errors are where it is minus
    # where it should be.
    "h1_walk": ("velocity", 0.1, {"velocity_command": 0.1}),
    "h1_reach": ("wrists", 0.1, {"wrist_command": 0.1, "wrist_error": -0.1}),
    "h1_squat": ("height", 0.7, {"height_command": 0.7, "height_error": 0.281}),
}


@pytest.mark.parametrize("task_id", COMMANDED)
def test_what_a_robot_that_stands_sees_of_its_command(make_h1, task_id):
    name, asked, seen = COMMANDED[task_id]
    env = make_h1(task_id)
    env.state.commands[name].value.fill_(asked)
    obs = env._observe()["policy"]
    for term, value in seen.items():
        columns = obs[:, env.layouts["policy"][term]]
        torch.testing.assert_close(columns, torch.full_like(columns, value), atol=1e-4, rtol=0)


def test_what_a_robot_that_stands_sees_of_its_steps(make_h1):
    env = make_h1("h1_step")
    env.state.commands["feet"].targets = env.state.foot_pos + torch.tensor([0.1, -0.2, 0.0])
    seen = env._observe()["policy"][:, env.layouts["policy"]["foot_error"]]
    expected = torch.tensor([[-0.1, 0.2, -0.1, 0.2]] * 2)
    torch.testing.assert_close(seen, expected, atol=1e-6, rtol=0)


@each
def test_what_the_tasks_share(make_h1, task_id):
    task = get_task(task_id)
    assert task.id == task_id
    assert task.control_dt == pytest.approx(0.02)
    assert task.max_episode_steps == 1200
    assert (task.action_clip, task.action_delay, task.action_noise) == (1.0, 1.0, 0.02)
    assert task.randomization == h1.randomizations()
    assert task.metrics.keys() == METRICS[task_id]
    assert len(task.commands) == 1
    # The document's own physics: the same to look at, twenty steps of a millisecond.
    fine = make_h1(task_id, {"timestep": 0.001, "decimation": 20}, num_envs=1)
    assert fine.control_dt == pytest.approx(0.02)
    assert fine.layouts == make_h1(task_id, num_envs=1).layouts


@pytest.mark.parametrize(
    ("task_id", "times"),
    [
        ("h1_walk", [8.0, 8.0]),
        ("h1_reach", [1.0, 3.0]),
        ("h1_squat", [1.0, 3.0]),
        ("h1_step", [1.5, 3.0]),
    ],
)
def test_commands_are_drawn_anew_within_an_episode(task_id, times):
    [term] = get_task(task_id).commands.values()
    assert term.params["resampling_time"] == times


def test_action_scale(make_h1):
    env = make_h1("h1_walk", num_envs=1)
    scale = dict(zip(get_robot("h1").joints, env.action_scale.tolist(), strict=True))
    table = {"hip_yaw": 0.4, "hip_roll": 0.4, "hip_pitch": 1.2, "knee": 1.3, "ankle": 0.5}
    table |= {"shoulder_pitch": 1.2, "shoulder_roll": 1.2, "shoulder_yaw": 1.2, "elbow": 1.3}
    assert scale.pop("torso") == pytest.approx(1.0)
    for name, value in scale.items():
        assert value == pytest.approx(table[name.split("_", 1)[1]]), name
    # Full deflection reaches the deepest squat: 0.8 + 1.3 rad of knee is beyond its limit of 2.05.
    env.step(torch.ones(1, 19))
    assert env.sim.ctrl[0, 3].item() == pytest.approx(2.1)


@each
def test_falls_end_an_episode(make_h1, task_id):
    env = make_h1(task_id, num_envs=5)
    for row, (height, degrees) in enumerate(
        [(0.981, 0), (0.46, 0), (0.44, 0), (1.2, 58), (1.2, 62)]
    ):
        half = math.radians(degrees) / 2
        env.sim.qpos[row, 2] = height
        quat = [math.cos(half), 0.0, math.sin(half), 0.0]
        env.sim.qpos[row, 3:7] = torch.tensor(quat, dtype=torch.float64)
    env.sim.forward(torch.arange(5))
    env.state._cache.clear()
    env.sim._fresh.clear()
    assert env._terminations().tolist() == [False, False, True, False, True]


def test_no_reward_is_negative(make_h1):
    """Costs alone would teach to fall soon."""
    env = make_h1("h1_walk", num_envs=8, quiet=False)
    generator = torch.Generator().manual_seed(0)
    rewards = [env.step(torch.randn(8, 19, generator=generator) * 3).reward for _ in range(20)]
    assert torch.stack(rewards).min() >= 0.0
    assert env.task.only_positive_rewards


class TestRecordedStates:
    @pytest.fixture
    def arrays(self):
        with np.load(Path(tasks.__file__).with_name("h1_states.npz")) as loaded:
            return dict(loaded)

    def test_what_is_recorded(self, arrays):
        count = len(arrays["qpos"])
        assert count >= 1000
        assert arrays["qpos"].shape == (count, 26)
        assert arrays["qvel"].shape == (count, 25)
        assert arrays["skill"].shape == (count,)
        assert np.isfinite(arrays["qpos"]).all()
        assert np.isfinite(arrays["qvel"]).all()

    def test_all_skills_have_led_there(self, arrays):
        assert set(arrays["skill"].tolist()) == {0, 1, 2, 3}

    def test_they_stand_at_the_origin(self, arrays):
        qpos = arrays["qpos"]
        assert np.abs(qpos[:, :2]).max() == 0.0
        np.testing.assert_allclose(np.linalg.norm(qpos[:, 3:7], axis=1), 1.0, atol=1e-5)
        assert qpos[:, 2].min() > 0.45
        _, x, y, _ = qpos[:, 3:7].T
        assert np.degrees(np.arccos(1.0 - 2.0 * (x**2 + y**2))).max() < 60.0

    def test_nobody_falls_at_once(self, make_h1):
        start = {"recorded_state": {"share": 1.0}}
        off = dict.fromkeys(("joint_pos", "friction", "payload", "push"))
        env = make_h1("h1_step", {"randomization": start | off}, num_envs=64, quiet=False)
        for _ in range(3):
            assert not env.step(torch.zeros(64, 19)).terminated.any()

    def test_three_in_ten_episodes_start_there(self, make_h1):
        env = make_h1("h1_walk", num_envs=400, quiet=False)
        standing = (env.sim.qpos[:, 2] - 0.981).abs() < 1e-9
        # Six deviations of 400 draws of 0.3 are 0.14.
        assert 1.0 - standing.float().mean().item() == pytest.approx(0.3, abs=0.14)
