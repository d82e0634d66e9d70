"""Goals as a policy sees them: by hand, in the heading frame, with their masks."""

from __future__ import annotations

import math

import pytest
import torch

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import GOAL_PARTS, TASKS
from stridelab_envs.registry import get_task

EIGHT = ["h1_reach_task", *(f"h1_{name}" for name in TASKS[1:])]
WRIST = (0.2985, 0.2135, 1.0676)  # left, of the robot standing in its default pose
HEIGHT = 0.981


def goal(env):
    """The goal of environment 0, by part."""
    row = env.state.commands["goal"].vector(env.state)[0]
    return {part: row[columns].tolist() for part, columns in GOAL_PARTS.items()}


def near(*numbers):
    return pytest.approx(numbers, abs=2e-3)


def test_reach(make_task):
    env = make_task(
        "h1_reach_task",
        fixed={
            "reach_left_x": 0.4,
            "reach_left_y": 0.3,
            "reach_left_z": 1.2,
            "reach_right_x": 0.5,
            "reach_right_y": -0.2,
            "reach_right_z": 0.9,
        },
    )
    seen = goal(env)
    assert seen["object"] == near(0.4, 0.3, 1.2 - HEIGHT)
    assert seen["target"] == near(0.1, -0.5, -0.3)
    assert seen["left_wrist"] == near(WRIST[0] - 0.4, WRIST[1] - 0.3, WRIST[2] - 1.2)
    assert seen["right_wrist"] == near(WRIST[0] - 0.5, -WRIST[1] + 0.2, WRIST[2] - 0.9)
    assert seen["scalars"] == near(HEIGHT, 0.0)


def test_the_frame_is_that_of_the_heading(make_task, stand_at):
    """A robot at (1, 1) that faces +y: what lies at (1, 3) is 2 m ahead."""
    env = make_task("h1_ball", fixed={"ball_goal_y": 1.0, "ball_goal_z": 0.1})
    ids = torch.arange(1)
    env.state.objects.place("ball", ids, torch.tensor([[1.0, 3.0, 0.1]]))
    env.sim.qvel[:, env.sim.model.joint("ball").dofadr[0] + 1] = 0.5  # along +y
    stand_at(env, 1.0, 1.0, math.pi / 2)
    seen = goal(env)
    assert seen["object"] == near(2.0, 0.0, 0.1 - HEIGHT)
    assert seen["target"] == near(-2.0, -4.0, 0.0)  # 4 m along +x is to the right
    assert seen["scalars"] == near(0.5, 0.0)
    assert seen["left_wrist"] == [0.0] * 3


def test_button_is_the_disc_s_front(make_task):
    env = make_task("h1_button", fixed={"button_y": 0.1, "button_z": 1.1})
    seen = goal(env)
    assert seen["object"] == near(1.475 - 0.02, 0.1, 1.1 - HEIGHT)
    assert seen["left_wrist"] == near(WRIST[0] - 1.455, WRIST[1] - 0.1, WRIST[2] - 1.1)
    assert seen["target"] == seen["right_wrist"] == [0.0] * 3


def test_cabinet(make_task):
    env = make_task("h1_cabinet", fixed={"cabinet_angle": 0.0})
    seen = goal(env)
    assert seen["object"] == near(1.5, 0.0, 1.0 - HEIGHT)
    # Closed doors: pushed 0.24 m from the hinge, half a door's thickness before it, at 1.035 m.
    assert seen["left_wrist"] == near(WRIST[0] - 1.2785, WRIST[1] - 0.083, WRIST[2] - 1.035)
    assert seen["right_wrist"] == near(WRIST[0] - 1.2805, -WRIST[1] + 0.075, WRIST[2] - 1.035)
    assert seen["scalars"] == [0.0, 0.0]
    opened = make_task("h1_cabinet", fixed={"cabinet_angle": 0.7})
    assert goal(opened)["scalars"] == near(0.7, 0.7)


@pytest.mark.parametrize(("task", "half"), {"h1_box": 0.05, "h1_carry": 0.05}.items())
def test_wrists_are_to_touch_the_sides(make_task, task, half):
    env = make_task(task)
    points = env.state.commands["goal"].points(env.state)[0]
    assert (points[2] - points[0]).tolist() == pytest.approx([0.0, half, 0.0], abs=1e-6)
    assert (points[3] - points[0]).tolist() == pytest.approx([0.0, -half, 0.0], abs=1e-6)


MASKS = {
    "reach": [1] * 12 + [1, 0],
    "button": [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0],
    "cabinet": [1, 1, 1, 0, 0, 0] + [1] * 8,
    "ball": [1] * 6 + [0] * 6 + [1, 1],
    **{name: [1] * 12 + [1, 0] for name in ("box", "transfer", "lift", "carry")},
}


@pytest.mark.parametrize("task_id", EIGHT)
def test_masks_and_one_hot(make_task, task_id):
    env = make_task(task_id)
    obs, columns = env.reset()["policy"][0], env.layouts["policy"]
    name = task_id.removeprefix("h1_").removesuffix("_task")
    assert obs[columns["goal_mask"]].tolist() == MASKS[name]
    assert obs[columns["task"]].tolist() == [float(name == other) for other in TASKS]
    parts = torch.cat([obs[columns[f"goal_{part}"]] for part in GOAL_PARTS])
    assert (parts[torch.tensor(MASKS[name]) == 0] == 0.0).all()


def test_sizes_of_the_documents():
    for task_id in (*EIGHT, "h1_multitask"):
        task = get_task(task_id)
        assert task.history == {"critic": 3}
        assert task.max_episode_steps == 1000
        assert task.control_dt == pytest.approx(0.02)


def test_groups(make_task):
    env = make_task("h1_multitask", num_envs=2)
    assert env.frame_sizes == {"policy": 105, "critic": 101, "skill_state": 79}
    assert env.observation_sizes["critic"] == 303
    layout = env.layouts["policy"]
    state = [name for name in layout if not name.startswith(("goal", "task"))]
    assert sum(layout[name].stop - layout[name].start for name in state) == 69
    assert list(layout)[: len(state)] == state


def test_skill_state(make_task, stand_at):
    """What skills need besides their commands, unturned and unscaled by where the robot stands."""
    env = make_task("h1_button")
    stand_at(env, 2.0, -1.0, 0.5)
    obs, columns = env._observe()["skill_state"][0], env.layouts["skill_state"]
    tail = ["joint_pos", "joint_vel", "last_action", "base_ang_vel", "projected_gravity"]
    assert list(columns)[:5] == tail
    assert columns["projected_gravity"].stop == 63
    assert obs[columns["wrist_pos"]].tolist() == near(*WRIST, WRIST[0], -WRIST[1], WRIST[2])
    assert obs[columns["base_height"]].tolist() == near(HEIGHT)
    assert obs[columns["base_heading"]].tolist() == near(0.5)
    assert obs[columns["gait_clock"]].tolist() == [0.0, 1.0]
    torch.testing.assert_close(obs[columns["foot_pos"]], env.state.foot_pos[0].flatten())
    assert obs[columns["foot_pos"]][0].item() == pytest.approx(
        2.0 + 0.0395 * math.cos(0.5) - 0.2029 * math.sin(0.5), abs=2e-3
    )


def test_walk_command_is_what_the_driver_wrote(make_task):
    env = make_task("h1_button", num_envs=2)
    velocity = env.state.commands["velocity"]
    columns = env.layouts["policy"]
    assert env.reset()["policy"][0, columns["walk_velocity"]].tolist() == [0.0, 0.0]
    velocity.value[:] = torch.tensor([0.5, -0.25, 1.0])
    obs = env.step(torch.zeros(2, 19)).obs["policy"]
    assert obs[0, columns["walk_velocity"]].tolist() == [1.0, -0.5]
    assert obs[0, columns["walk_yaw_rate"]].tolist() == [0.25]
    obs = env.reset()["policy"]
    assert obs[0, columns["walk_velocity"]].tolist() == [0.0, 0.0]


def test_the_critic_sees_the_object(make_task, stand_at):
    env = make_task("h1_lift", fixed={"lift_mass": 1.5})
    env.sim.qvel[:, env.sim.model.joint("panel").dofadr[0]] = 0.4
    stand_at(env, yaw=math.pi / 2)
    obs, columns = env._observe()["critic"][0], env.layouts["critic"]
    assert obs[columns["object_mass"]].item() == pytest.approx(1.5)
    assert obs[columns["object_lin_vel"]].tolist() == near(0.0, -0.4, 0.0)
    assert obs[columns["object_uprightness"]].item() == pytest.approx(1.0)


def test_nothing_moved_is_zero(make_task):
    env = make_task("h1_button")
    for look in (manipulation.moved_lin_vel, manipulation.moved_mass):
        assert (look(env.state, "goal") == 0.0).all()


def test_every_task_has_its_own_place_in_the_one_hot_vector():
    goals = get_task("h1_multitask").commands["goal"].params["tasks"]
    assert [task.name for task in goals] == list(TASKS)
    assert [task.index for task in goals] == list(range(8))
