"""Walk and stand at command with the legs of the X1; the vendor's published training task.

Numbers are those of agibot_x1_train. What differs, and why:

* Reward ``feet_rotation`` looks at frames parallel to the base, ``foot_slip`` at linear velocity;
  there the first is always zero and the second looks at angular velocity.
* The centre of mass is moved from its place instead of put near the base's origin, and a joint's
  friction, damping and strength are drawn once an episode.
* A push adds to the base's velocity instead of replacing it, which would stop a walking robot.
* Thighs and shanks collide, so a robot could kneel: ``base_too_low`` ends that.
* The base's whole upper body collides, not the pelvis alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from stridelab_envs.mdp import (
    body_rewards,
    command_rewards,
    gait_rewards,
    lags,
    metrics,
    rewards,
    terminations,
)
from stridelab_envs.mdp import gait_observations as gait_obs
from stridelab_envs.mdp import model_randomization as model
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp import privileged_observations as privileged
from stridelab_envs.mdp.gait_command import GaitCommand
from stridelab_envs.mdp.randomization import joint_pos_offset, payload
from stridelab_envs.mdp.terms import (
    CommandTerm,
    ObservationTerm,
    RandomizationTerm,
    RewardTerm,
    StateTerm,
)
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.profiles import control_profiles

GAIT_PERIOD = 0.7
"""Of a cycle of two steps [s]."""
STANDING_HEIGHT = 0.61
"""Of the base's origin above the soles [m]."""
SWING = (
    (0.25, 0.05, -0.11, 0.35, -0.16, 0.0, *(0.0,) * 6),
    (*(0.0,) * 6, -0.25, -0.05, 0.11, 0.35, -0.16, 0.0),
)
"""Offsets of the joints [rad] in the middle of a left and of a right swing."""

_COMMAND = {"command": "velocity"}
_SIDEWAYS = ("hip_roll", "hip_yaw", "ankle_roll")


def x1_walk() -> TaskConfig:
    """Return the task ``x1_walk``."""
    return TaskConfig(
        id="x1_walk",
        description="Walk, stand and walk again at command with the X1's legs.",
        robot="x1",
        timestep=0.005,
        decimation=2,
        profiles=control_profiles(0.01),
        episode_length_s=24.0,
        action_scale=0.5,
        action_clip=100.0,
        contact_threshold=5.0,
        commands={"velocity": CommandTerm(func=GaitCommand, params=_gait())},
        observations={"policy": _policy(), "critic": _critic()},
        more_observations={
            "base_com": ObservationTerm(
                func=privileged.centre_of_mass_shift, params={"body": "base"}, scale=20.0
            ),
            "action_lag": ObservationTerm(func=privileged.action_lag, scale=25.0),
        },
        history={"policy": 66, "critic": 3},
        rewards=_rewards(),
        only_positive_rewards=True,
        terminations={
            "base_contact": StateTerm(
                func=terminations.body_contact, params={"body": "base", "force": 1.0}
            ),
            "roll_or_pitch": StateTerm(func=terminations.roll_or_pitch, params={"limit": 1.5}),
            "base_too_low": StateTerm(func=terminations.base_too_low, params={"height": 0.35}),
        },
        randomization=_randomization(),
        metrics={
            "lin_vel_error": StateTerm(func=command_rewards.lin_vel_error, params=_COMMAND),
            "yaw_rate_error": StateTerm(func=command_rewards.yaw_rate_error, params=_COMMAND),
            "lin_vel_x": StateTerm(func=metrics.lin_vel_x),
            "max_command_x": StateTerm(func=command_rewards.max_command_x, params=_COMMAND),
        },
    )


def _gait() -> Mapping[str, object]:
    return {
        "ranges": {"lin_vel_x": [-0.4, 1.2], "lin_vel_y": [-0.4, 0.4], "ang_vel_z": [-0.6, 0.6]},
        "walk_time": [4.0, 6.0],
        "stand_time": [2.0, 3.0],
        "period": GAIT_PERIOD,
        "sharpness": [5.0, 10.0],
        "widest_x": [-0.75, 1.5],
        "curriculum": True,
    }


def _clock_and_command() -> dict[str, ObservationTerm]:
    return {
        "gait_phase": ObservationTerm(func=gait_obs.gait_phase, params=_COMMAND),
        "lin_vel_command": ObservationTerm(
            func=gait_obs.lin_vel_command, params=_COMMAND, scale=2.0
        ),
        "ang_vel_command": ObservationTerm(func=gait_obs.ang_vel_command, params=_COMMAND),
    }


def _policy() -> dict[str, ObservationTerm]:
    """Return the 47 numbers the robot can measure; noise is 1.5 times the vendor's table."""
    return {
        **_clock_and_command(),
        "joint_pos": ObservationTerm(func=gait_obs.measured_joint_pos_rel, noise=0.03),
        "joint_vel": ObservationTerm(func=gait_obs.measured_joint_vel, scale=0.05, noise=2.25),
        "last_action": ObservationTerm(func=obs.last_action),
        "base_ang_vel": ObservationTerm(func=obs.base_ang_vel, noise=0.3),
        "base_rpy": ObservationTerm(func=gait_obs.base_rpy, noise=0.15),
    }


def _critic() -> dict[str, ObservationTerm]:
    """Return the 73 numbers of the privileged frame, without noise."""
    return {
        **_clock_and_command(),
        "joint_pos": ObservationTerm(func=obs.joint_pos_rel),
        "joint_vel": ObservationTerm(func=obs.joint_vel, scale=0.05),
        "last_action": ObservationTerm(func=obs.last_action),
        "joint_pos_ref": ObservationTerm(
            func=gait_obs.joint_pos_ref, params={**_COMMAND, "swing": SWING}
        ),
        "base_lin_vel": ObservationTerm(func=obs.base_lin_vel, scale=2.0),
        "base_ang_vel": ObservationTerm(func=obs.base_ang_vel),
        "base_rpy": ObservationTerm(func=gait_obs.base_rpy),
        "push_lin_vel": ObservationTerm(func=gait_obs.push_lin_vel),
        "push_ang_vel": ObservationTerm(func=gait_obs.push_ang_vel),
        "friction": ObservationTerm(func=obs.friction),
        "base_mass": ObservationTerm(func=obs.body_mass, params={"body": "base"}, scale=0.1),
        "stance_mask": ObservationTerm(func=gait_obs.stance_mask, params=_COMMAND),
        "foot_contact": ObservationTerm(func=obs.foot_contact),
    }


def _rewards() -> dict[str, RewardTerm]:
    """Return the 27 terms under the vendor's names, and one that helps to begin, switched off."""
    vendor = _gait_rewards() | _velocity_rewards() | _posture_rewards() | _effort_rewards()
    swing_load = RewardTerm(func=gait_rewards.swing_load, weight=0.0, params=_COMMAND)
    return vendor | {"swing_load": swing_load}


def _gait_rewards() -> dict[str, RewardTerm]:
    return {
        "ref_joint_pos": RewardTerm(
            func=gait_rewards.ref_joint_pos, weight=2.2, params={**_COMMAND, "swing": SWING}
        ),
        "feet_clearance": RewardTerm(
            func=gait_rewards.feet_clearance,
            weight=1.0,
            params={**_COMMAND, "low": 0.03, "high": 0.06},
        ),
        "feet_contact_number": RewardTerm(
            func=gait_rewards.feet_contact_number, weight=2.0, params=_COMMAND
        ),
        "feet_air_time": RewardTerm(func=gait_rewards.feet_air_time, weight=1.2, params=_COMMAND),
        "foot_slip": RewardTerm(func=body_rewards.foot_slip, weight=-0.1),
        "feet_distance": RewardTerm(
            func=rewards.feet_distance, weight=0.2, params={"low": 0.2, "high": 1.0}
        ),
        "knee_distance": RewardTerm(
            func=body_rewards.bodies_distance,
            weight=0.2,
            params={"bodies": ("left_shank", "right_shank"), "low": 0.2, "high": 0.5},
        ),
        "feet_contact_forces": RewardTerm(
            func=body_rewards.feet_contact_forces,
            weight=-0.01,
            params={"limit": 700.0, "most": 400.0},
        ),
    }


def _velocity_rewards() -> dict[str, RewardTerm]:
    return {
        "tracking_lin_vel": RewardTerm(
            func=gait_rewards.tracking_lin_vel, weight=1.8, params=_COMMAND
        ),
        "tracking_ang_vel": RewardTerm(
            func=gait_rewards.tracking_ang_vel,
            weight=1.1,
            params={**_COMMAND, "walking": 5.0, "standing": 10.0},
        ),
        "vel_mismatch_exp": RewardTerm(func=body_rewards.vel_mismatch_exp, weight=0.5),
        "low_speed": RewardTerm(func=gait_rewards.low_speed, weight=0.2, params=_COMMAND),
        "track_vel_hard": RewardTerm(func=gait_rewards.track_vel_hard, weight=0.5, params=_COMMAND),
    }


def _posture_rewards() -> dict[str, RewardTerm]:
    return {
        "default_joint_pos": RewardTerm(
            func=body_rewards.default_joint_pos,
            weight=1.0,
            params={
                side: tuple(f"{side}_{joint}" for joint in _SIDEWAYS) for side in ("left", "right")
            },
        ),
        "orientation": RewardTerm(func=rewards.orientation, weight=1.0),
        "feet_rotation": RewardTerm(func=body_rewards.feet_rotation, weight=0.3),
        "base_height": RewardTerm(
            func=gait_rewards.base_height,
            weight=0.2,
            params={**_COMMAND, "target": STANDING_HEIGHT, "ankle": 0.041, "sharpness": 100.0},
        ),
        "base_acc": RewardTerm(func=body_rewards.base_acc, weight=0.2),
    }


def _effort_rewards() -> dict[str, RewardTerm]:
    return {
        "action_smoothness": RewardTerm(func=body_rewards.action_smoothness, weight=-0.002),
        "torques": RewardTerm(func=rewards.joint_torque_square, weight=-8e-9),
        "dof_vel": RewardTerm(func=rewards.joint_vel_square, weight=-2e-8),
        "dof_acc": RewardTerm(func=rewards.joint_acc_square, weight=-1e-7),
        "collision": RewardTerm(
            func=body_rewards.collision, weight=-1.0, params={"bodies": ("base",), "force": 0.1}
        ),
        "stand_still": RewardTerm(func=gait_rewards.stand_still, weight=2.5, params=_COMMAND),
        "dof_vel_limits": RewardTerm(
            func=body_rewards.dof_vel_limits, weight=-1.0, params={"share": 0.9}
        ),
        "dof_pos_limits": RewardTerm(
            func=body_rewards.dof_pos_limits, weight=-10.0, params={"share": 0.98}
        ),
        "dof_torque_limits": RewardTerm(
            func=body_rewards.dof_torque_limits, weight=-0.1, params={"share": 0.9}
        ),
    }


def _randomization() -> dict[str, RandomizationTerm]:
    """Return what changes: body and motors from episode to episode, pushes within one."""
    factor = {"low": 0.8, "high": 1.2}
    return {
        "base_drop": RandomizationTerm(func=model.base_drop, params={"height": 0.09}),
        "joint_pos": RandomizationTerm(func=joint_pos_offset, params={"half_width": 0.1}),
        "friction": RandomizationTerm(
            func=model.friction_with_ground, params={"low": 0.2, "high": 1.3, "ground": 0.6}
        ),
        "restitution": RandomizationTerm(
            func=model.restitution, params={"low": 0.0, "high": 0.4, "ground": 0.0}
        ),
        "base_mass": RandomizationTerm(
            func=payload, params={"body": "base", "low": -3.0, "high": 3.0}
        ),
        "link_mass": RandomizationTerm(func=model.link_masses, params={"low": 0.9, "high": 1.1}),
        "base_com": RandomizationTerm(
            func=model.centre_of_mass, params={"body": "base", "half_width": 0.05}
        ),
        "gains": RandomizationTerm(
            func=model.gains, params={"stiffness": [0.8, 1.2], "damping": [0.8, 1.2]}
        ),
        "motor_strength": RandomizationTerm(func=model.motor_strength, params=factor),
        "motor_offset": RandomizationTerm(func=model.motor_offset, params={"half_width": 0.035}),
        "joint_friction": RandomizationTerm(
            func=model.joint_friction, params={"low": 0.1, "high": 0.9}
        ),
        "joint_damping": RandomizationTerm(
            func=model.joint_damping, params={"low": 0.05, "high": 0.1}
        ),
        "armature": RandomizationTerm(func=model.armature, params={"low": 1e-4, "high": 0.05}),
        "action_lag": RandomizationTerm(
            func=model.action_lag,
            params={"low": 0.005, "high": 0.04},
            prepare=lags.add_action_buffers,
        ),
        "observation_lag": RandomizationTerm(
            func=model.observation_lag,
            params={"low": 0.0, "high": 0.04},
            prepare=lags.add_lagged_sensors,
        ),
        "push": RandomizationTerm(
            func=model.growing_push,
            params={
                "linear": 0.2,
                "angular": 0.2,
                "duration": [0.0, 0.25],
                "growth": 0.05,
                "level_steps": 48000.0,
                "curriculum": True,
            },
            interval_s=(4.0, 4.0),
        ),
    }
