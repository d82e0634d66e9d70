"""Choices of skill and command written by hand, to show a policy what takes long to find.

A guide sees no more of an observation than the policy that learns from it: its goal, in the base's
heading frame. It need not be good: rewards go on where it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Advice(NamedTuple):
    """What to do in ``n`` states."""

    skill: str
    command: dict[str, Tensor]
    """Name of each number of the skill's command to its values, ``(n,)``, in the skill's units."""


Guide = Callable[[Mapping[str, Tensor]], Advice]
"""From parts of the goal, each ``(n, size)`` [m], see ``stridelab_envs.mdp.goal``."""

_FOOT_Y = 0.2
"""Where the right foot is, across the heading: it is to meet the ball [m]."""
_RUN_UP = 0.5
"""How far behind the ball to stand before pushing it [m]."""
_ALIGNED_Y, _ALIGNED_YAW = 0.08, 0.25
"""How well to be behind the ball before pushing it [m, rad]."""
_FASTEST, _FASTEST_ASIDE, _FASTEST_TURN = 0.5, 0.5, 0.8
_GOAL = 0.48
"""Near enough to leave the ball alone; the task asks for 0.5 [m]."""


def dribble(goal: Mapping[str, Tensor]) -> Advice:
    """Walk to behind the ball, seen from its target, then push it there with a foot."""
    ball, to_target = goal["object"][:, :2], goal["target"][:, :2]
    distance = to_target.norm(dim=1)
    ahead = to_target / distance.clamp(min=1e-3).unsqueeze(1)
    left = torch.stack([-ahead[:, 1], ahead[:, 0]], dim=1)
    along, across = -(ball * ahead).sum(dim=1), -(ball * left).sum(dim=1)
    yaw = torch.atan2(ahead[:, 1], ahead[:, 0])
    aside = _FOOT_Y - across
    aligned = (aside.abs() < _ALIGNED_Y) & (yaw.abs() < _ALIGNED_YAW) & (along < -0.1)
    back = (1.5 * (-_RUN_UP - along)).clamp(-_FASTEST, _FASTEST)
    forward = torch.where(aligned, _FASTEST, back)
    sideways = (2.0 * aside).clamp(-_FASTEST_ASIDE, _FASTEST_ASIDE)
    velocity = ahead * forward.unsqueeze(1) + left * sideways.unsqueeze(1)
    turn = (1.5 * yaw).clamp(-_FASTEST_TURN, _FASTEST_TURN)
    going = (distance > _GOAL).to(velocity.dtype)
    return Advice(
        "walk",
        {
            "lin_vel_x": going * velocity[:, 0].clamp(-_FASTEST, _FASTEST),
            "lin_vel_y": going * velocity[:, 1].clamp(-_FASTEST_ASIDE, _FASTEST_ASIDE),
            "ang_vel_z": going * turn,
        },
    )


GUIDES: dict[str, Guide] = {"h1_ball": dribble}
"""Task to the guide for it."""
