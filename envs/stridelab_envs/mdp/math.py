"""Batched rotations; quaternions are ``wxyz`` and of unit length."""

from __future__ import annotations

import torch
from torch import Tensor


def rotate(quat: Tensor, vector: Tensor) -> Tensor:
    """Rotate ``vector (n, 3)`` from the body frame to the world frame by ``quat (n, 4)``."""
    w, axis = quat[:, :1], quat[:, 1:]
    twice_cross = 2.0 * torch.linalg.cross(axis, vector)
    return vector + w * twice_cross + torch.linalg.cross(axis, twice_cross)


def rotate_inverse(quat: Tensor, vector: Tensor) -> Tensor:
    """Rotate ``vector (n, 3)`` from the world frame to the body frame by ``quat (n, 4)``."""
    w, axis = quat[:, :1], quat[:, 1:]
    twice_cross = 2.0 * torch.linalg.cross(axis, vector)
    return vector - w * twice_cross + torch.linalg.cross(axis, twice_cross)


def gravity_direction(quat: Tensor) -> Tensor:
    """Unit vector of gravity in the body frame, ``(n, 3)``; ``(0, 0, -1)`` when upright."""
    w, x, y, z = quat.unbind(dim=1)
    return torch.stack(
        [2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1.0], dim=1
    )


def heading(quat: Tensor) -> Tensor:
    """Yaw of the body's x axis about the world's z axis [rad], ``(n,)``."""
    w, x, y, z = quat.unbind(dim=1)
    return torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def roll_pitch_yaw(quat: Tensor) -> Tensor:
    """Roll, pitch and yaw [rad] of the body, ``(n, 3)``: yaw about z first, then pitch, roll last.

    Roll and yaw lie in (-pi, pi], pitch within pi/2.
    """
    w, x, y, z = quat.unbind(dim=1)
    roll = torch.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = torch.asin((2 * (w * y - z * x)).clamp(-1.0, 1.0))
    return torch.stack([roll, pitch, heading(quat)], dim=1)


def to_heading(yaw: Tensor, vector: Tensor) -> Tensor:
    """Turn world vectors ``(..., 3)`` into the frame turned by ``yaw (...)`` [rad] about z."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x, y, z = vector.unbind(dim=-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z + 0.0 * cos], dim=-1)


def from_heading(yaw: Tensor, vector: Tensor) -> Tensor:
    """Turn vectors ``(..., 3)`` of the frame turned by ``yaw (...)`` [rad] into the world's."""
    return to_heading(-yaw, vector)
