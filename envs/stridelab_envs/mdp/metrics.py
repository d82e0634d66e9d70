"""Task metrics: functions of the state that return ``(num_envs,)``, averaged over an episode."""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp.state import State


def forward_velocity(state: State) -> Tensor:
    """Velocity of the base along the world's x axis [m/s]."""
    return state.base_lin_vel_world[:, 0]


def lin_vel_x(state: State) -> Tensor:
    """Velocity of the base along its heading [m/s]."""
    return state.base_lin_vel_heading[:, 0]


def foot_switches_per_second(state: State) -> Tensor:
    """Changes of the stance foot per second [1/s]."""
    return state.feet.switched / state.dt


def feet_airborne(state: State) -> Tensor:
    """One while no foot touches the ground: the mean is the share of time in flight."""
    return (~state.feet.contact.any(dim=1)).float()
