"""Skill "squat": bring the base to a height and hold it there."""

from __future__ import annotations

from stridelab_envs.mdp import command_rewards, rewards
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.skills import HeightCommand
from stridelab_envs.mdp.terms import CommandTerm, ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.config import TaskConfig

_COMMAND = {"command": "height"}
_KINEMATICS = {"leg": 0.4, "above": 0.2442, "least_ankle": -0.87}
"""Thigh and shank [m], pelvis above the hips plus ankle above the sole [m], ankle's limit [rad]."""


def h1_squat() -> TaskConfig:
    """Return the task ``h1_squat``."""
    return TaskConfig(
        id="h1_squat",
        description="Humanoid skill: bring the base to a commanded height.",
        commands={
            "height": CommandTerm(
                func=HeightCommand,
                params={"ranges": h1.HEIGHT_RANGE, "resampling_time": [1.0, 3.0]},
            )
        },
        observations=h1.observations(
            {
                "height_command": ObservationTerm(func=obs.command, params={"name": "height"}),
                "height_error": ObservationTerm(func=obs.height_error, params={"name": "height"}),
            },
            {"time_left": ObservationTerm(func=obs.time_left, params={"name": "height"})},
        ),
        rewards={
            **h1.standing_rewards(),
            "height": RewardTerm(
                func=command_rewards.height, weight=8.0, params={**_COMMAND, "sharpness": 4.0}
            ),
            "height_fine": RewardTerm(
                func=command_rewards.height, weight=5.0, params={**_COMMAND, "sharpness": 20.0}
            ),
            "squat_reference": RewardTerm(
                func=command_rewards.squat_reference,
                weight=4.0,
                params={**_COMMAND, "joints": h1.LEGS, **_KINEMATICS, "sharpness": 0.8},
            ),
            "upper_body": RewardTerm(
                func=rewards.joint_deviation, weight=0.7, params={"group": "arms", "sharpness": 4.0}
            ),
            "torso": RewardTerm(
                func=rewards.joint_deviation,
                weight=0.3,
                params={"group": "torso", "sharpness": 4.0},
            ),
        },
        metrics={
            "height_error": StateTerm(func=command_rewards.height_error, params=_COMMAND),
        },
        **h1.base_settings(),
    )
