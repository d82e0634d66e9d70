"""Terms of the manipulation tasks: what is left to do, goals as seen, rewards, success.

Each reward lies in ``[0, 1]`` and is ``exp(-sharpness e)`` of an error e. Where environments play
different tasks, a term named for one task is zero in those that play another.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.commands import expect
from stridelab_envs.mdp.goal import (
    GOAL_PARTS,
    GOAL_SIZE,
    TASKS,
    Manipulation,
    ManipulationGoal,
)
from stridelab_envs.mdp.mirror import (
    UNCHANGED,
    VECTOR,
    Mirror,
    Scene,
    command_params,
    mirrored,
    other_side,
    rule_of,
    signed,
    swapped,
)
from stridelab_envs.mdp.state import State
from stridelab_envs.robots.objects import DOORS


def goal_of(state: State, command: str) -> ManipulationGoal:
    """Return the manipulation goal called ``command``."""
    return expect(state.commands[command], ManipulationGoal)


# How goals look in the mirror.


def _symmetric_tasks(scene: Scene, command: str) -> tuple[Manipulation, ...]:
    """Return the tasks of a goal.

    Raises:
        ConfigError: If one of them needs one hand alone: its mirror image is another task.
    """
    tasks: tuple[Manipulation, ...] = command_params(scene, command)["tasks"]
    for task in tasks:
        left, right = task.touch
        if (left is None) != (right is None):
            message = (
                f'the task "{task.name}" is for one hand, so algorithm.symmetry cannot be used'
            )
            raise ConfigError("", message)
    return tasks


def _goal_part(scene: Scene, command: str, part: str) -> Mirror:
    image_of = {"object": _object, "target": _target, "scalars": _own_numbers}.get(part, _wrist)
    first, *others = [image_of(scene, task, part) for task in _symmetric_tasks(scene, command)]
    if any(other != first for other in others):
        raise ConfigError("", "the tasks of the goal differ in how this looks in the mirror")
    return first


def _ends_change_places(task: Manipulation) -> bool:
    """Say whether what is handled and its target are each other's mirror images."""
    return task.handled != task.target and other_side(task.handled) == task.target


def _object(scene: Scene, task: Manipulation, part: str) -> Mirror:
    plus = replace(VECTOR(scene), params={"part": "target"})  # measured from the object
    return replace(VECTOR(scene), plus=plus if _ends_change_places(task) else None)


def _target(scene: Scene, task: Manipulation, part: str) -> Mirror:
    return signed(-1.0, 1.0, -1.0)(scene) if _ends_change_places(task) else VECTOR(scene)


def _wrist(scene: Scene, task: Manipulation, part: str) -> Mirror:
    return replace(VECTOR(scene), params={"part": other_side(part)})


def _own_numbers(scene: Scene, task: Manipulation, part: str) -> Mirror:
    """Return the image of a task's own numbers, filled up to two."""
    rule = rule_of(task.scalars)
    if rule is None:
        raise ConfigError("", f'the task "{task.name}" does not say how its own numbers mirror')
    image = rule(scene)
    spare = range(len(image.source), 2)
    return Mirror(source=(*image.source, *spare), sign=(*image.sign, *(1.0 for _ in spare)))


def _goal_mask(scene: Scene, command: str) -> Mirror:
    _symmetric_tasks(scene, command)
    return signed(*(1.0,) * GOAL_SIZE)(scene)


def _one_hot(scene: Scene, command: str) -> Mirror:
    return signed(*(1.0,) * len(TASKS))(scene)


def _doors(scene: Scene) -> Mirror:
    return swapped(DOORS, (1.0,))


# What is left to do, (num_envs,).


def wrist_error(state: State, goal: ManipulationGoal) -> Tensor:
    """Mean absolute error of both wrists [m]."""
    return (state.wrist_pos - goal.points(state)[:, 2:]).abs().mean(dim=(1, 2))


def left_wrist_error(state: State, goal: ManipulationGoal) -> Tensor:
    """Mean absolute error of the left wrist [m]."""
    return (state.wrist_pos[:, 0] - goal.points(state)[:, 2]).abs().mean(dim=1)


def left_wrist_distance(state: State, goal: ManipulationGoal) -> Tensor:
    """Distance of the left wrist from its place [m]."""
    return (state.wrist_pos[:, 0] - goal.points(state)[:, 2]).norm(dim=1)


def door_error(state: State, goal: ManipulationGoal) -> Tensor:
    """Mean angle of the cabinet's doors [rad]."""
    return state.objects.hinge_angles(DOORS).abs().mean(dim=1)


def target_error(state: State, goal: ManipulationGoal) -> Tensor:
    """Mean absolute error of what is handled [m]."""
    return _to_target(state, goal).abs().mean(dim=1)


def target_distance(state: State, goal: ManipulationGoal) -> Tensor:
    """Distance of what is handled from its target [m]."""
    return _to_target(state, goal).norm(dim=1)


def target_height_error(state: State, goal: ManipulationGoal) -> Tensor:
    """Absolute error of the height of what is handled [m]."""
    return _to_target(state, goal)[:, 2].abs()


def _to_target(state: State, goal: ManipulationGoal) -> Tensor:
    points = goal.points(state)
    return points[:, 1] - points[:, 0]


# A task's own numbers, (num_envs, 1 or 2).


@mirrored(UNCHANGED)
def base_height(state: State) -> Tensor:
    """Height of the base's origin [m]."""
    return state.base_height.unsqueeze(1)


@mirrored(_doors)
def door_angles(state: State) -> Tensor:
    """Angles of the cabinet's doors, left and right [rad]."""
    return state.objects.hinge_angles(DOORS)


@mirrored(signed(1.0, -1.0))
def ball_velocity(state: State) -> Tensor:
    """Velocity of the ball along and across the robot's heading [m/s]."""
    return state.in_heading(state.objects.lin_vel("ball"))[:, :2]


# Observations.


@mirrored(_goal_part)
def goal_part(state: State, command: str, part: str) -> Tensor:
    """One part of the goal, see ``mdp/goal.py``; heading frame."""
    return goal_of(state, command).vector(state)[:, GOAL_PARTS[part]]


@mirrored(_goal_mask)
def goal_mask(state: State, command: str) -> Tensor:
    """One for each number of the goal that means something, else zero."""
    return goal_of(state, command).mask


@mirrored(_one_hot)
def task_one_hot(state: State, command: str) -> Tensor:
    """One in the column of the task being played, else zero."""
    task = goal_of(state, command).task
    return torch.nn.functional.one_hot(task, len(TASKS)).float()


@mirrored(VECTOR)
def moved_lin_vel(state: State, command: str) -> Tensor:
    """Velocity of the free object that is handled [m/s], heading frame; zero without one."""
    velocity = goal_of(state, command).of_moved(state.objects.lin_vel, 3)
    return state.in_heading(velocity)


@mirrored(UNCHANGED)
def moved_mass(state: State, command: str) -> Tensor:
    """Mass of the free object that is handled [kg]; zero without one."""
    return goal_of(state, command).of_moved(lambda name: state.objects.mass(name)[:, None], 1)


@mirrored(UNCHANGED)
def moved_uprightness(state: State, command: str) -> Tensor:
    """World z of the handled object's own z axis, 1 when upright; zero without an object."""
    objects = state.objects
    return goal_of(state, command).of_moved(lambda name: objects.uprightness(name)[:, None], 1)


# Rewards.


def wrists_near(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean absolute error of both wrists [m]."""
    goal = goal_of(state, command)
    return _near(goal, task, sharpness, wrist_error(state, goal))


def left_wrist_near(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean absolute error of the left wrist [m]."""
    goal = goal_of(state, command)
    return _near(goal, task, sharpness, left_wrist_error(state, goal))


def right_arm_at_rest(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean absolute offset of the right arm's joints from the default pose [rad]."""
    arms = state.joint_ids(("arms",))
    right = arms[len(arms) // 2 :]
    offset = state.joint_pos[:, right] - state.default_pose[right]
    return _near(goal_of(state, command), task, sharpness, offset.abs().mean(dim=1))


def doors_closed(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean angle of the doors [rad]."""
    goal = goal_of(state, command)
    return _near(goal, task, sharpness, door_error(state, goal))


def base_near(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean absolute planar distance of the base from what is handled [m]."""
    goal = goal_of(state, command)
    offset = (state.base_pos - goal.points(state)[:, 0])[:, :2]
    return _near(goal, task, sharpness, offset.abs().mean(dim=1))


def target_near(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the mean absolute error of what is handled [m]."""
    goal = goal_of(state, command)
    return _near(goal, task, sharpness, target_error(state, goal))


def target_height_near(state: State, command: str, task: str, sharpness: float) -> Tensor:
    """Of the absolute error of the height of what is handled [m]."""
    goal = goal_of(state, command)
    return _near(goal, task, sharpness, target_height_error(state, goal))


def target_progress(state: State, command: str, task: str) -> Tensor:
    """Speed of the free object that is handled towards its target [m/s]."""
    goal = goal_of(state, command)
    velocity = goal.of_moved(state.objects.lin_vel, 3)
    direction = torch.nn.functional.normalize(_to_target(state, goal), dim=1)
    return (velocity * direction).sum(dim=1) * goal.plays(task)


def _near(goal: ManipulationGoal, task: str, sharpness: float, error: Tensor) -> Tensor:
    return torch.exp(-sharpness * error) * goal.plays(task)


# Terminations.


def touched(state: State, command: str, task: str, bodies: tuple[str, ...], force: float) -> Tensor:
    """Something presses one of ``bodies`` with more than ``force`` [N], in ``task``."""
    forces = torch.stack([state.contact_force(body) for body in bodies], dim=1)
    pressed = (forces.norm(dim=2) > force).any(dim=1)
    return pressed & goal_of(state, command).plays(task)


# Metrics; with a task they are NaN where another one is played.


def success(state: State, command: str, task: str | None = None) -> Tensor:
    """One once the task has been done and the robot has not fallen."""
    goal = goal_of(state, command)
    return _of_task(goal, task, (goal.succeeded & ~state.terminated).float())


def success_at_end(state: State, command: str, task: str | None = None) -> Tensor:
    """One while the error is within the tolerance and the robot has not fallen."""
    goal = goal_of(state, command)
    return _of_task(goal, task, (goal.done & ~state.terminated).float())


def error(state: State, command: str, task: str | None = None) -> Tensor:
    """What is left to do, in the units of the task."""
    goal = goal_of(state, command)
    return _of_task(goal, task, goal.error)


def step_reward(state: State, command: str, task: str | None = None) -> Tensor:
    """Reward of the step."""
    return _of_task(goal_of(state, command), task, state.reward)


def fell(state: State, command: str, task: str | None = None) -> Tensor:
    """One in a step that ends the episode in failure."""
    return _of_task(goal_of(state, command), task, state.terminated.float())


def _of_task(goal: ManipulationGoal, task: str | None, value: Tensor) -> Tensor:
    return value if task is None else value.masked_fill(~goal.plays(task), math.nan)
