"""Skill "step": set one foot down at a place near where it stood; the other one stays."""

from __future__ import annotations

from stridelab_envs.mdp import command_rewards, rewards
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.skills import FootCommand
from stridelab_envs.mdp.terms import CommandTerm, ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.config import TaskConfig

_COMMAND = {"command": "feet"}


def h1_step() -> TaskConfig:
    """Return the task ``h1_step``."""
    return TaskConfig(
        id="h1_step",
        description="Humanoid skill: set one foot down at a commanded place.",
        commands={
            "feet": CommandTerm(
                func=FootCommand,
                params={
                    "ranges": h1.FOOT_RANGES,
                    "resampling_time": [1.5, 3.0],
                    "spread_x": 0.35,
                    "spread_y": [0.2, 0.55],
                },
            )
        },
        observations=h1.observations(
            {"foot_error": ObservationTerm(func=obs.foot_error, params={"name": "feet"})},
            {"time_left": ObservationTerm(func=obs.time_left, params={"name": "feet"})},
        ),
        rewards={
            **h1.regularization(),
            "feet": RewardTerm(
                func=command_rewards.feet, weight=8.0, params={**_COMMAND, "sharpness": 4.0}
            ),
            "feet_fine": RewardTerm(
                func=command_rewards.feet, weight=6.0, params={**_COMMAND, "sharpness": 20.0}
            ),
            "moving_foot": RewardTerm(
                func=command_rewards.moving_foot, weight=10.0, params={**_COMMAND, "sharpness": 6.0}
            ),
            "step_schedule": RewardTerm(
                func=command_rewards.step_schedule,
                weight=4.0,
                params={**_COMMAND, "lift": 0.2, "land": 0.7},
            ),
            "orientation": RewardTerm(func=rewards.orientation, weight=1.0),
            "upper_body": RewardTerm(
                func=rewards.joint_deviation, weight=0.5, params={"group": "arms", "sharpness": 4.0}
            ),
            "torso": RewardTerm(
                func=rewards.joint_deviation,
                weight=0.3,
                params={"group": "torso", "sharpness": 4.0},
            ),
            "foot_slip": RewardTerm(func=rewards.foot_slip, weight=-0.5),
            "yaw_rate": RewardTerm(func=rewards.yaw_rate_square, weight=-0.1),
        },
        metrics={
            "foot_error": StateTerm(
                func=command_rewards.foot_error, params={**_COMMAND, "moving_only": False}
            ),
            "moving_foot_error": StateTerm(
                func=command_rewards.foot_error, params={**_COMMAND, "moving_only": True}
            ),
        },
        **h1.base_settings(),
    )
