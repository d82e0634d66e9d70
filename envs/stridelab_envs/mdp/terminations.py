"""Termination terms: functions of the state that return booleans ``(num_envs,)``."""

from __future__ import annotations

import math

from torch import Tensor

from stridelab_envs.mdp.state import State


def base_too_low(state: State, height: float) -> Tensor:
    """The base's origin is less than ``height`` [m] above the ground."""
    return state.base_height < height


def body_contact(state: State, body: str, force: float) -> Tensor:
    """The ground exerts more than ``force`` [N] on ``body``, which has a contact sensor."""
    return state.contact_force(body).norm(dim=1) > force


def roll_or_pitch(state: State, limit: float) -> Tensor:
    """Roll or pitch of the base is beyond ``limit`` [rad]."""
    return (state.base_rpy[:, :2].abs() > limit).any(dim=1)


def tilted(state: State, limit: float) -> Tensor:
    """The base's z axis leans more than ``limit`` [rad] from the vertical."""
    return state.projected_gravity[:, 2] > -math.cos(limit)
