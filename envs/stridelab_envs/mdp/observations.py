"""Observation terms: functions of the state that return ``(num_envs, k)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab_envs.mdp.state import State


def joint_pos(state: State) -> Tensor:
    """Joint angles [rad]."""
    return state.joint_pos


def joint_pos_rel(state: State) -> Tensor:
    """Joint angles relative to the default pose [rad]."""
    return state.joint_pos - state.default_pose


def joint_vel(state: State) -> Tensor:
    """Joint velocities [rad/s]."""
    return state.joint_vel


def last_action(state: State) -> Tensor:
    """The action just executed, after clipping."""
    return state.action


def base_quat(state: State) -> Tensor:
    """Orientation of the base, ``wxyz``."""
    return state.base_quat


def base_lin_vel(state: State) -> Tensor:
    """Linear velocity of the base [m/s], body frame."""
    return state.base_lin_vel


def base_lin_vel_world(state: State) -> Tensor:
    """Linear velocity of the base [m/s], world frame."""
    return state.base_lin_vel_world


def base_ang_vel(state: State) -> Tensor:
    """Angular velocity of the base [rad/s], body frame."""
    return state.base_ang_vel


def projected_gravity(state: State) -> Tensor:
    """Unit vector of gravity, body frame."""
    return state.projected_gravity


def foot_contact(state: State) -> Tensor:
    """One for each foot on the ground, else zero."""
    return state.feet.contact.float()


def gait_clock(state: State, frequency: float) -> Tensor:
    """Sine and cosine of the gait phase, which advances ``frequency`` cycles a second [Hz]."""
    phase = 2.0 * math.pi * frequency * state.episode_time
    return torch.stack([torch.sin(phase), torch.cos(phase)], dim=1)
