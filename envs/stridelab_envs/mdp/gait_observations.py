"""Observations of a robot with a :class:`GaitCommand`, late joint sensors and pushes.

Each returns ``(num_envs, k)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import expect
from stridelab_envs.mdp.gait_command import GaitCommand
from stridelab_envs.mdp.gait_rewards import reference_pose
from stridelab_envs.mdp.state import State


def gait_phase(state: State, command: str) -> Tensor:
    """Sine and cosine of the gait phase; 0 and 1 while standing."""
    phase = 2.0 * math.pi * expect(state.commands[command], GaitCommand).phase
    return torch.stack([torch.sin(phase), torch.cos(phase)], dim=1)


def lin_vel_command(state: State, command: str) -> Tensor:
    """Commanded velocity forward and to the left [m/s]."""
    return expect(state.commands[command], GaitCommand).value[:, :2]


def ang_vel_command(state: State, command: str) -> Tensor:
    """Commanded yaw rate [rad/s]."""
    return expect(state.commands[command], GaitCommand).value[:, 2:]


def measured_joint_pos_rel(state: State) -> Tensor:
    """Joint angles relative to the default pose as sensors tell them, perhaps late [rad]."""
    return state.measured_joint_pos - state.default_pose


def measured_joint_vel(state: State) -> Tensor:
    """Joint velocities as sensors tell them, perhaps late [rad/s]."""
    return state.measured_joint_vel


def base_rpy(state: State) -> Tensor:
    """Roll, pitch and yaw of the base [rad], each in (-pi, pi]."""
    return state.base_rpy


def joint_pos_ref(state: State, command: str, swing: tuple[tuple[float, ...], ...]) -> Tensor:
    """Joint angles relative to the pose the clock wants [rad]."""
    return state.joint_pos - reference_pose(state, command, swing)


def stance_mask(state: State, command: str) -> Tensor:
    """One for each foot that is meant to be on the ground, else zero."""
    return expect(state.commands[command], GaitCommand).stance.float()


def push_lin_vel(state: State) -> Tensor:
    """Horizontal velocity that a push adds at present [m/s], world frame."""
    return state.push.velocity[:, :2]


def push_ang_vel(state: State) -> Tensor:
    """Angular velocity that a push adds at present [rad/s], body frame."""
    return state.push.velocity[:, 2:]
