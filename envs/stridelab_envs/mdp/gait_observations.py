"""Observations of a robot with a :class:`GaitCommand`, late joint sensors and pushes.

Each returns ``(num_envs, k)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import expect
from stridelab_envs.mdp.gait_command import GaitCommand, means_to_stand
from stridelab_envs.mdp.gait_rewards import reference_pose
from stridelab_envs.mdp.mirror import (
    AXIAL,
    Mirror,
    Scene,
    Unmirrored,
    feet,
    joints,
    mirrored,
    signed,
)
from stridelab_envs.mdp.state import State


@mirrored(signed(1.0, -1.0))
def lin_vel_command(state: State, command: str) -> Tensor:
    """Commanded velocity forward and to the left [m/s]."""
    return expect(state.commands[command], GaitCommand).value[:, :2]


@mirrored(signed(-1.0))
def ang_vel_command(state: State, command: str) -> Tensor:
    """Commanded yaw rate [rad/s]."""
    return expect(state.commands[command], GaitCommand).value[:, 2:]


def _opposite_phase(scene: Scene, command: str) -> Mirror:
    """Rule of the clock: half a cycle ahead, for it is the other foot's turn; unless it stands."""
    unless = Unmirrored(terms=(lin_vel_command, ang_vel_command), when=means_to_stand)
    return Mirror(source=(0, 1), sign=(-1.0, -1.0), unless=unless)


@mirrored(_opposite_phase)
def gait_phase(state: State, command: str) -> Tensor:
    """Sine and cosine of the gait phase; 0 and 1 while standing."""
    phase = 2.0 * math.pi * expect(state.commands[command], GaitCommand).phase
    return torch.stack([torch.sin(phase), torch.cos(phase)], dim=1)


@mirrored(joints)
def measured_joint_pos_rel(state: State) -> Tensor:
    """Joint angles relative to the default pose as sensors tell them, perhaps late [rad]."""
    return state.measured_joint_pos - state.default_pose


@mirrored(joints)
def measured_joint_vel(state: State) -> Tensor:
    """Joint velocities as sensors tell them, perhaps late [rad/s]."""
    return state.measured_joint_vel


@mirrored(AXIAL)
def base_rpy(state: State) -> Tensor:
    """Roll, pitch and yaw of the base [rad], each in (-pi, pi]."""
    return state.base_rpy


@mirrored(joints)
def joint_pos_ref(state: State, command: str, swing: tuple[tuple[float, ...], ...]) -> Tensor:
    """Joint angles relative to the pose the clock wants [rad]."""
    return state.joint_pos - reference_pose(state, command, swing)


@mirrored(feet(1.0))
def stance_mask(state: State, command: str) -> Tensor:
    """One for each foot that is meant to be on the ground, else zero."""
    return expect(state.commands[command], GaitCommand).stance.float()


@mirrored(signed(1.0, -1.0))
def push_lin_vel(state: State) -> Tensor:
    """Horizontal velocity that a push adds at present [m/s], world frame."""
    return state.push.velocity[:, :2]


@mirrored(AXIAL)
def push_ang_vel(state: State) -> Tensor:
    """Angular velocity that a push adds at present [rad/s], body frame."""
    return state.push.velocity[:, 2:]
