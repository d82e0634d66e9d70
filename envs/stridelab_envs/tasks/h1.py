"""What the H1's tasks share: rates, action scales, proprioception, regularisation, randomisation.

Numbers are those of the skills' published configurations. Differences and their reasons: control
runs at 50 Hz throughout; actions lie in [-1, 1] with a scale for each joint, since 0.25 rad would
not let the robot squat or reach; yaw is not observed, gravity takes the place of roll and pitch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp import randomization, rewards, terminations
from stridelab_envs.mdp.terms import ObservationTerm, RandomizationTerm, RewardTerm, StateTerm
from stridelab_envs.tasks.profiles import control_profiles

ACTION_SCALE = {
    "hip_yaw": 0.4,
    "hip_roll": 0.4,
    "hip_pitch": 1.2,
    "knee": 1.3,
    "ankle": 0.5,
    "torso": 1.0,
    "arms": 1.2,
    "elbow": 1.3,
}
"""Joint offset per unit of action [rad]."""
LEGS = (
    ("left_hip_pitch", "left_knee", "left_ankle"),
    ("right_hip_pitch", "right_knee", "right_ankle"),
)
HIPS = ("left_hip_yaw", "left_hip_roll", "right_hip_yaw", "right_hip_roll")
WRIST_RANGES = {
    "left_x": [-0.10, 0.25],
    "left_y": [-0.10, 0.25],
    "left_z": [-0.25, 0.25],
    "right_x": [-0.10, 0.25],
    "right_y": [-0.25, 0.10],
    "right_z": [-0.25, 0.25],
}
"""Offsets of the wrists from their places in the standing pose [m]."""
VELOCITY_RANGES = {"lin_vel_x": [-1.0, 1.0], "lin_vel_y": [-1.0, 1.0], "ang_vel_z": [-1.0, 1.0]}
HEIGHT_RANGE = {"height": [0.65, 1.03]}
FOOT_RANGES = {"dx": [-0.25, 0.25], "dy": [-0.25, 0.25], "foot": [-1.0, 1.0]}
GAIT_PERIOD = 0.7
"""Of a cycle of two steps [s]."""


def base_settings(**changes: Any) -> dict[str, Any]:
    """Return the settings of a task that are the same for all, with ``changes``."""
    settings: dict[str, Any] = {
        "robot": "h1",
        "timestep": 0.005,
        "decimation": 4,
        "profiles": control_profiles(0.02),
        "episode_length_s": 24.0,
        "action_scale": ACTION_SCALE,
        "action_clip": 1.0,
        "action_delay": 1.0,
        "action_noise": 0.02,
        "only_positive_rewards": True,
        "terminations": {
            "base_too_low": StateTerm(func=terminations.base_too_low, params={"height": 0.45}),
            "tilted": StateTerm(func=terminations.tilted, params={"limit": math.radians(60)}),
        },
        "randomization": randomizations(),
    }
    return settings | changes


def observations(
    block: Mapping[str, ObservationTerm], privileged: Mapping[str, ObservationTerm]
) -> dict[str, dict[str, ObservationTerm]]:
    """Return the groups: ``block``, clock and proprioception, noisy; the same and more, clean.

    All skills see the gait clock: one that takes over from a walking robot has to step in time.
    """
    policy = {**block, "gait_clock": gait_clock(), **proprioception()}
    clean = {
        name: ObservationTerm(func=term.func, params=term.params, scale=term.scale)
        for name, term in policy.items()
    }
    critic = {
        **clean,
        "base_lin_vel": ObservationTerm(func=obs.base_lin_vel, scale=2.0),
        "base_height": ObservationTerm(func=obs.base_height),
        "foot_contact": ObservationTerm(func=obs.foot_contact),
        "foot_force": ObservationTerm(func=obs.foot_force, scale=0.002),
        "friction": ObservationTerm(func=obs.friction),
        "torso_mass": ObservationTerm(func=obs.body_mass, params={"body": "torso"}, scale=1 / 30),
        **privileged,
    }
    return {"policy": policy, "critic": critic}


def gait_clock() -> ObservationTerm:
    """Return the clock that walking keeps time with."""
    return ObservationTerm(func=obs.gait_clock, params={"frequency": 1.0 / GAIT_PERIOD})


def proprioception() -> dict[str, ObservationTerm]:
    """Return the 63 numbers every skill sees after its command block and the clock.

    The noise is uniform; about the standard deviations of the published Gaussian one, 0.03 rad for
    example, are its half-widths.
    """
    return {
        "joint_pos": ObservationTerm(func=obs.joint_pos_rel, noise=0.03),
        "joint_vel": ObservationTerm(func=obs.joint_vel, scale=0.05, noise=0.3),
        "last_action": ObservationTerm(func=obs.last_action),
        "base_ang_vel": ObservationTerm(func=obs.base_ang_vel, noise=0.06),
        "projected_gravity": ObservationTerm(func=obs.projected_gravity, noise=0.02),
    }


def standing_rewards() -> dict[str, RewardTerm]:
    """Return what the skills that stand share: posture, effort, smoothness, feet that stay."""
    return {
        **regularization(),
        "feet_distance": RewardTerm(
            func=rewards.feet_distance, weight=0.5, params={"low": 0.2, "high": 0.5}
        ),
        "hips_straight": RewardTerm(
            func=rewards.hips_straight, weight=0.5, params={"joints": HIPS}
        ),
        "orientation": RewardTerm(func=rewards.orientation, weight=1.0),
        "both_feet_contact": RewardTerm(func=rewards.both_feet_contact, weight=0.5),
        "foot_slip": RewardTerm(func=rewards.foot_slip, weight=-0.5),
        "planar_velocity": RewardTerm(func=rewards.planar_velocity_square, weight=-0.5),
        "yaw_rate": RewardTerm(func=rewards.yaw_rate_square, weight=-0.1),
    }


def regularization() -> dict[str, RewardTerm]:
    """Return the costs of effort and haste."""
    return {
        "action_rate": RewardTerm(func=rewards.action_rate, weight=-0.03),
        "joint_torque": RewardTerm(func=rewards.joint_torque_square, weight=-1e-5),
        "joint_vel": RewardTerm(func=rewards.joint_vel_square, weight=-5e-4),
        "joint_acc": RewardTerm(func=rewards.joint_acc_square, weight=-1e-7),
    }


def randomizations() -> dict[str, RandomizationTerm]:
    """Return what changes from episode to episode, and the pushes within one.

    A share of the episodes begins in states that the skills came to while taking turns
    (``stridelab chain --record``), so that each learns to take over from any other.
    """
    return {
        "recorded_state": RandomizationTerm(
            func=randomization.recorded_state, params={"file": "h1_states.npz", "share": 0.3}
        ),
        "joint_pos": RandomizationTerm(
            func=randomization.joint_pos_offset, params={"half_width": 0.1}
        ),
        "friction": RandomizationTerm(
            func=randomization.friction, params={"low": 0.6, "high": 1.25}
        ),
        "payload": RandomizationTerm(
            func=randomization.payload, params={"body": "torso", "low": -3.0, "high": 5.0}
        ),
        "push": RandomizationTerm(
            func=randomization.push,
            params={"linear": 0.2, "angular": 0.4},
            interval_s=(3.0, 5.0),
        ),
    }
