"""Changes made when an episode starts: ``func(state, ids, **params)`` with ``ids (k,)``.

Each writes the physics state of the environments named; the caller computes the derived fields.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp.state import State


def joint_pos_offset(state: State, ids: Tensor, half_width: float) -> None:
    """Move each joint by a uniform offset within ``half_width`` [rad]."""
    columns = state.joint_slices[0]
    noise = _uniform(state, ids, columns.stop - columns.start, half_width)
    state.sim.qpos[ids, columns] += noise


def joint_vel_offset(state: State, ids: Tensor, half_width: float) -> None:
    """Give each joint a uniform velocity within ``half_width`` [rad/s]."""
    columns = state.joint_slices[1]
    noise = _uniform(state, ids, columns.stop - columns.start, half_width)
    state.sim.qvel[ids, columns] += noise


def base_velocity(state: State, ids: Tensor, linear: float, angular: float) -> None:
    """Give the base a uniform velocity within ``linear`` [m/s] and ``angular`` [rad/s]."""
    start = state.base_slices[1].start
    state.sim.qvel[ids, start : start + 3] += _uniform(state, ids, 3, linear)
    state.sim.qvel[ids, start + 3 : start + 6] += _uniform(state, ids, 3, angular)


def _uniform(state: State, ids: Tensor, width: int, half_width: float) -> Tensor:
    draw = torch.rand(ids.numel(), width, generator=state.generator, dtype=torch.float64)
    return (2.0 * draw - 1.0) * half_width
