"""What the manipulation tasks share: observations, sums of rewards, falls, time limit.

Scenes, ranges and reward weights are those of the published tasks unless a file says otherwise.
Rewards are divided by the sum of their weights, so a control step pays at most 1 in every task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stridelab_envs.mdp import manipulation, randomization
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.commands import ExternalCommand
from stridelab_envs.mdp.goal import GOAL_PARTS, Draw, Manipulation, ManipulationGoal
from stridelab_envs.mdp.terms import (
    CommandTerm,
    ObservationTerm,
    RandomizationTerm,
    RewardTerm,
    StateTerm,
)
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.config import TaskConfig

GOAL = {"command": "goal"}
"""Parameters of every term that looks at the goal."""
TRUNK = ("pelvis", "torso")
SHOULDERS = ("left_shoulder_roll", "right_shoulder_roll")
ELBOWS = ("left_forearm", "right_forearm")
HIPS = ("left_hip_roll", "right_hip_roll", "left_thigh", "right_thigh")
KNEES = ("left_shank", "right_shank")
TOUCH_LIMIT = 1.0
"""A body that must not touch anything ends the episode above this force [N]."""
FASTEST = 2.0
"""Progress beyond this counts no more [m/s]."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task, as it stands alone or among others."""

    goal: Manipulation
    description: str
    rewards: Mapping[str, tuple[Callable[..., Tensor], float, float]]
    """Name to function, published weight and sharpness."""
    untouchable: tuple[str, ...]
    """Bodies of the robot that must not touch anything."""

    def reward_terms(self) -> dict[str, RewardTerm]:
        """Return the reward terms; their weights sum to 1.

        Progress of what is moved is not rewarded unless an experiment gives it a weight.
        """
        name = self.goal.name
        of_task = {**GOAL, "task": name}
        total = sum(weight for _, weight, _ in self.rewards.values())
        terms = {
            f"{name}_{term}": RewardTerm(
                func=func, weight=weight / total, params={**of_task, "sharpness": sharpness}
            )
            for term, (func, weight, sharpness) in self.rewards.items()
        }
        if self.goal.moved is not None:
            terms[f"{name}_progress"] = RewardTerm(
                func=manipulation.target_progress,
                weight=0.0,
                clip=(-FASTEST, FASTEST),
                params=of_task,
            )
        return terms

    def termination(self) -> StateTerm:
        """Return what ends the episode when an untouchable body touches something."""
        params = {"task": self.goal.name, "bodies": self.untouchable, "force": TOUCH_LIMIT}
        return StateTerm(func=manipulation.touched, params={**GOAL, **params})


def points(draw: Draw, *prefixes: str) -> list[Tensor]:
    """Return drawn positions ``<prefix>_x``, ``_y``, ``_z``, each ``(k, 3)``."""
    return [torch.stack([draw[f"{prefix}_{axis}"] for axis in "xyz"], dim=1) for prefix in prefixes]


def at(ids: Tensor, x: float | Tensor, y: float | Tensor, z: float | Tensor) -> Tensor:
    """Return positions ``(k, 3)`` [m] for simulations ``ids (k,)`` from numbers or tensors."""
    zero = torch.zeros(ids.numel())
    return torch.stack([zero + x, zero + y, zero + z], dim=1)


def alone(part: Part, task_id: str) -> TaskConfig:
    """Return the task of one part, called ``task_id``."""
    return manipulation_task(task_id, part.description, [part])


def manipulation_task(task_id: str, description: str, parts: Sequence[Part]) -> TaskConfig:
    """Return a task that draws one of ``parts`` for every episode."""
    shared = h1.base_settings(
        episode_length_s=20.0,
        action_delay=0.0,
        action_noise=0.0,
        only_positive_rewards=False,
        rewards_per_step=True,
        randomization={
            "joint_pos": RandomizationTerm(
                func=randomization.joint_pos_offset, params={"half_width": 0.1}
            )
        },
    )
    shared["terminations"] |= {f"{part.goal.name}_touch": part.termination() for part in parts}
    return TaskConfig(
        id=task_id,
        description=description,
        objects=_unique(name for part in parts for name in part.goal.objects),
        contact_bodies=_unique(body for part in parts for body in part.untouchable),
        commands={
            "goal": CommandTerm(
                func=ManipulationGoal,
                params={
                    "tasks": tuple(part.goal for part in parts),
                    "ranges": {k: v for part in parts for k, v in part.goal.ranges.items()},
                },
            ),
            "velocity": CommandTerm(func=ExternalCommand, params={"ranges": h1.VELOCITY_RANGES}),
        },
        observations=_observations(),
        history={"critic": 3},
        rewards={name: term for part in parts for name, term in part.reward_terms().items()},
        metrics=_metrics([part.goal.name for part in parts]),
        **shared,
    )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _observations() -> dict[str, dict[str, ObservationTerm]]:
    """Return the groups: of the policy (105), the critic (3 of 101) and the skills (79)."""
    goal = {
        f"goal_{part}": ObservationTerm(func=manipulation.goal_part, params={**GOAL, "part": part})
        for part in GOAL_PARTS
    }
    task = {"task": ObservationTerm(func=manipulation.task_one_hot, params=GOAL)}
    moving = {
        "base_lin_vel": ObservationTerm(func=obs.base_lin_vel, scale=2.0),
        "base_ang_vel": ObservationTerm(func=obs.base_ang_vel, scale=0.25),
        "projected_gravity": ObservationTerm(func=obs.projected_gravity),
        # What the walking skill was last told, by whoever runs the skills.
        "walk_velocity": _walk_command(("lin_vel_x", "lin_vel_y"), scale=2.0),
        "walk_yaw_rate": _walk_command(("ang_vel_z",), scale=0.25),
        "joint_pos": ObservationTerm(func=obs.joint_pos_rel),
        "joint_vel": ObservationTerm(func=obs.joint_vel, scale=0.05),
        "last_action": ObservationTerm(func=obs.last_action),
    }
    return {
        "policy": {
            **moving,
            **goal,
            "goal_mask": ObservationTerm(func=manipulation.goal_mask, params=GOAL),
            **task,
        },
        "critic": {
            **moving,
            **goal,
            **task,
            "object_lin_vel": ObservationTerm(func=manipulation.moved_lin_vel, params=GOAL),
            "object_mass": ObservationTerm(func=manipulation.moved_mass, params=GOAL),
            "object_uprightness": ObservationTerm(func=manipulation.moved_uprightness, params=GOAL),
            "base_height": ObservationTerm(func=obs.base_height),
            "friction": ObservationTerm(func=obs.friction),
            "torso_mass": ObservationTerm(
                func=obs.body_mass, params={"body": "torso"}, scale=1 / 30
            ),
            "foot_contact": ObservationTerm(func=obs.foot_contact),
        },
        "skill_state": _skill_state(),
    }


def _walk_command(columns: tuple[str, ...], scale: float) -> ObservationTerm:
    params = {"name": "velocity", "columns": columns}
    return ObservationTerm(func=obs.command_columns, params=params, scale=scale)


def _skill_state() -> dict[str, ObservationTerm]:
    """Return all that skills look at besides their commands, without noise."""
    return {
        **{name: replace(term, noise=0.0) for name, term in h1.proprioception().items()},
        "gait_clock": h1.gait_clock(),
        "wrist_pos": ObservationTerm(func=obs.wrist_pos),
        "base_height": ObservationTerm(func=obs.base_height),
        "foot_pos": ObservationTerm(func=obs.foot_pos),
        "base_heading": ObservationTerm(func=obs.base_heading),
    }


def _metrics(tasks: Sequence[str]) -> dict[str, StateTerm]:
    """Return success over all environments and, of several tasks, what each came to."""
    last = {
        "success": manipulation.success,
        "success_at_end": manipulation.success_at_end,
        "error": manipulation.error,
        "fell": manipulation.fell,
    }
    of_all = [name for name in last if len(tasks) == 1 or name.startswith("success")]
    table = {name: StateTerm(func=last[name], params=GOAL, over_episode="last") for name in of_all}
    for task in tasks if len(tasks) > 1 else ():
        params = {**GOAL, "task": task}
        for name in ("success", "error", "fell"):
            table[f"{name}/{task}"] = StateTerm(func=last[name], params=params, over_episode="last")
        table[f"return/{task}"] = StateTerm(
            func=manipulation.step_reward, params=params, over_episode="sum"
        )
    return table
