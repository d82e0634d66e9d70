"""Skill "reach": bring both wrists to targets around their places in the standing pose."""

from __future__ import annotations

from stridelab_envs.mdp import command_rewards, rewards
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.skills import WristCommand
from stridelab_envs.mdp.terms import CommandTerm, ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.config import TaskConfig

ARM_LENGTH = 0.614
"""From the centre of the shoulder to the wrist of a straight arm [m]."""
_COMMAND = {"command": "wrists"}


def h1_reach() -> TaskConfig:
    """Return the task ``h1_reach``."""
    return TaskConfig(
        id="h1_reach",
        description="Humanoid skill: bring both wrists to commanded places.",
        commands={
            "wrists": CommandTerm(
                func=WristCommand,
                params={
                    "ranges": h1.WRIST_RANGES,
                    "resampling_time": [1.0, 3.0],
                    "shoulders": ("left_shoulder_roll", "right_shoulder_roll"),
                    "reach": ARM_LENGTH,
                },
            )
        },
        observations=h1.observations(
            {
                "wrist_command": ObservationTerm(func=obs.command, params={"name": "wrists"}),
                "wrist_error": ObservationTerm(func=obs.wrist_error, params={"name": "wrists"}),
            },
            {
                "time_left": ObservationTerm(func=obs.time_left, params={"name": "wrists"}),
            },
        ),
        rewards={
            **h1.standing_rewards(),
            "wrists": RewardTerm(
                func=command_rewards.wrists, weight=15.0, params={**_COMMAND, "sharpness": 4.0}
            ),
            "wrists_fine": RewardTerm(
                func=command_rewards.wrists, weight=8.0, params={**_COMMAND, "sharpness": 20.0}
            ),
            "torso": RewardTerm(
                func=rewards.joint_deviation,
                weight=0.5,
                params={"group": "torso", "sharpness": 4.0},
            ),
        },
        metrics={
            "wrist_error": StateTerm(
                func=command_rewards.wrist_error, params={**_COMMAND, "reachable_only": True}
            ),
            "wrist_error_all": StateTerm(
                func=command_rewards.wrist_error, params={**_COMMAND, "reachable_only": False}
            ),
        },
        **h1.base_settings(),
    )
