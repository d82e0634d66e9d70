"""The gait clock, and terms that hold a walking robot to it.

The left foot is meant to stand in the first half of a cycle and to swing in the second, the right
foot the other way round; where the clock passes from one to the other both are meant to stand.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # commands know the clock, and the state holds commands
    from stridelab_envs.mdp.state import State

BOTH_STAND = 0.1
"""Both feet are meant to stand while the clock's sine is smaller than this."""


def clock_sine(state: State, period: float) -> Tensor:
    """Sine of the gait phase, which has the given ``period`` [s], ``(num_envs,)``."""
    return torch.sin(2.0 * math.pi / period * state.gait_time)


def meant_to_stand(state: State, period: float) -> Tensor:
    """Whether the clock wants each foot on the ground, left and right, ``(num_envs, 2)`` bool."""
    return meant_to_stand_at(clock_sine(state, period))


def meant_to_stand_at(sine: Tensor) -> Tensor:
    """Whether a clock with this ``sine (num_envs,)`` wants each foot down, ``(num_envs, 2)``."""
    return torch.stack([sine > -BOTH_STAND, sine < BOTH_STAND], dim=1)


def contact_schedule(state: State, period: float) -> Tensor:
    """Mean over feet of +1 where contact is as the clock wants it, else -0.3."""
    right = state.feet.contact == meant_to_stand(state, period)
    return (right * 1.3 - 0.3).mean(dim=1)


def reference_pose(
    state: State, period: float, amplitude: float, joints: tuple[tuple[str, str, str], ...]
) -> Tensor:
    """Return the pose the clock wants [rad], ``(num_envs, num_joints)``.

    The swing leg is shortened: with A = ``amplitude`` [rad] times the size of the sine its hip
    pitch goes to -A, its knee to +2A and its ankle to -A from the default pose, which keeps the
    sole level. Else the default pose is the reference.

    Args:
        state: The robots.
        period: Of a gait cycle [s].
        amplitude: Of the hip [rad].
        joints: Hip pitch, knee and ankle, of the left leg, then of the right one.
    """
    sine = clock_sine(state, period)
    swing = torch.stack([(-sine).clamp(min=0.0), sine.clamp(min=0.0)])
    swing = amplitude * swing.masked_fill(sine.abs() < BOTH_STAND, 0.0)
    pose = state.default_pose.repeat(state.num_envs, 1)
    for leg, names in enumerate(joints):
        for name, factor in zip(names, (-1.0, 2.0, -1.0), strict=True):
            pose[:, state.joint_ids((name,))[0]] += factor * swing[leg]
    return pose


def reference_tracking(
    state: State,
    period: float,
    amplitude: float,
    joints: tuple[tuple[str, str, str], ...],
    group: str,
) -> Tensor:
    """``exp(-2 d) - 0.2 min(d, 0.5)``, d = distance [rad] of ``group`` from the reference pose."""
    columns = state.joint_ids((group,))
    reference = reference_pose(state, period, amplitude, joints)
    distance = (state.joint_pos - reference)[:, columns].norm(dim=1)
    return torch.exp(-2.0 * distance) - 0.2 * distance.clamp(max=0.5)
