"""Skill "walk": follow a planar velocity and a yaw rate."""

from __future__ import annotations

from stridelab_envs.mdp import command_rewards, gait, metrics, rewards
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.commands import VelocityCommand
from stridelab_envs.mdp.terms import CommandTerm, ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks import h1
from stridelab_envs.tasks.config import TaskConfig

_GAIT = {"period": h1.GAIT_PERIOD, "amplitude": 0.3, "joints": h1.LEGS}
_COMMAND = {"command": "velocity"}


def h1_walk() -> TaskConfig:
    """Return the task ``h1_walk``."""
    return TaskConfig(
        id="h1_walk",
        description="Humanoid skill: follow commanded velocity and yaw rate.",
        commands={
            "velocity": CommandTerm(
                func=VelocityCommand,
                params={
                    "ranges": h1.VELOCITY_RANGES,
                    "resampling_time": [8.0, 8.0],
                    "start_ranges": {
                        "lin_vel_x": [0.2, 1.0],
                        "lin_vel_y": [0.0, 0.0],
                        "ang_vel_z": [0.0, 0.0],
                    },
                    "curriculum": True,
                },
            )
        },
        observations=h1.observations(
            {"velocity_command": ObservationTerm(func=obs.command, params={"name": "velocity"})},
            {"mean_velocity": ObservationTerm(func=obs.mean_velocity, params={"name": "velocity"})},
        ),
        rewards={
            **h1.regularization(),
            "tracking_lin_vel": RewardTerm(
                func=command_rewards.tracking_lin_vel,
                weight=1.8,
                params={**_COMMAND, "sharpness": 5.0},
            ),
            "tracking_ang_vel": RewardTerm(
                func=command_rewards.tracking_ang_vel,
                weight=1.1,
                params={**_COMMAND, "sharpness": 5.0},
            ),
            "gait_reference": RewardTerm(
                func=gait.reference_tracking, weight=2.2, params={**_GAIT, "group": "legs"}
            ),
            "contact_schedule": RewardTerm(
                func=gait.contact_schedule, weight=1.0, params={"period": h1.GAIT_PERIOD}
            ),
            "upper_body": RewardTerm(
                func=rewards.joint_deviation, weight=0.5, params={"group": "arms", "sharpness": 4.0}
            ),
            "torso": RewardTerm(
                func=rewards.joint_deviation,
                weight=0.2,
                params={"group": "torso", "sharpness": 4.0},
            ),
            "orientation": RewardTerm(func=rewards.orientation, weight=1.0),
            "hips_straight": RewardTerm(
                func=rewards.hips_straight, weight=0.3, params={"joints": h1.HIPS}
            ),
            "base_height": RewardTerm(
                func=rewards.base_height_exp, weight=0.2, params={"target": 0.96, "sharpness": 20.0}
            ),
            "vertical_calm": RewardTerm(func=rewards.vertical_calm, weight=0.3),
            "feet_distance": RewardTerm(
                func=rewards.feet_distance, weight=0.2, params={"low": 0.2, "high": 0.6}
            ),
            "foot_slip": RewardTerm(func=rewards.foot_slip, weight=-0.1),
            "contact_force": RewardTerm(
                func=rewards.contact_force_above,
                weight=-0.002,
                params={"limit": 700.0, "most": 400.0},
            ),
        },
        metrics={
            "lin_vel_error": StateTerm(func=command_rewards.lin_vel_error, params=_COMMAND),
            "yaw_rate_error": StateTerm(func=command_rewards.yaw_rate_error, params=_COMMAND),
            "lin_vel_x": StateTerm(func=metrics.lin_vel_x),
            "curriculum": StateTerm(func=command_rewards.curriculum, params=_COMMAND),
        },
        **h1.base_settings(),
    )
