"""Termination terms: functions of the state that return booleans ``(num_envs,)``."""

from __future__ import annotations

import math

from torch import Tensor

from stridelab_envs.mdp.state import State


def base_too_low(state: State, height: float) -> Tensor:
    """The base's origin is below ``height`` [m]."""
    return state.base_pos[:, 2] < height


def tilted(state: State, limit: float) -> Tensor:
    """The base's z axis leans more than ``limit`` [rad] from the vertical."""
    return state.projected_gravity[:, 2] > -math.cos(limit)
