"""Choices of skill and command written by hand, to show a policy what takes long to find.

A guide sees no more of an observation than the policy that learns from it: its goal, in the base's
heading frame. It must be followed to the end: rewards alone unlearned what it had shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Advice(NamedTuple):
    """What to do in ``n`` states."""

    skill: dict[str, Tensor]
    """Name of each skill that may be advised to where it is, ``(n,)`` bool."""
    command: dict[str, Tensor]
    """``skill.number`` to values ``(n,)`` in the skill's units; clamped to its ranges later."""


Guide = Callable[[Mapping[str, Tensor]], Advice]
"""From parts of the goal, each ``(n, size)`` [m], see ``stridelab_envs.mdp.goal``."""

_FOOT_Y = 0.2
"""How far aside of the base a foot is that is to meet the ball [m]."""
_EITHER_FOOT = 0.05
"""Nearer to the line through ball and target than this, the choice of the foot fades [m]."""
_RUN_UP = 0.5
"""How far behind the ball to stand before pushing it [m]."""
_ALIGNED_Y, _ALIGNED_YAW = (0.04, 0.12), (0.15, 0.35)
"""From where to where alignment behind the ball goes from full to none [m, rad]."""
_TURN_Y = (0.1, 0.25)
"""From where to where a foot's place aside is too wrong to turn [m]."""
_PASSING_Y, _PASSING_X = (0.3, 0.4), (-0.3, -0.2)
"""From where to where a ball beside the robot is far enough aside, or ahead, not to be dragged."""
_FASTEST, _FASTEST_ASIDE, _FASTEST_TURN = 0.5, 0.5, 0.8
_ASIDE_SHARE = 0.5
"""Walking goes farther aside than it is told; with all of it the ball drifted off its line."""
_GOAL = (0.42, 0.5)
"""From where to where the ball is left alone more and more; the task asks for 0.5 [m]."""


def _falling(value: Tensor, between: tuple[float, float]) -> Tensor:
    """Return 1 below, 0 above, and a straight line in between.

    What jumps cannot be learned: between two commands a student takes the mean, and stands still.
    """
    low, high = between
    return ((high - value) / (high - low)).clamp(0.0, 1.0)


def dribble(goal: Mapping[str, Tensor]) -> Advice:
    """Walk to behind the ball, seen from its target, then push it there with the nearer foot."""
    ball, to_target = goal["object"][:, :2], goal["target"][:, :2]
    distance = to_target.norm(dim=1)
    ahead = to_target / distance.clamp(min=1e-3).unsqueeze(1)
    left = torch.stack([-ahead[:, 1], ahead[:, 0]], dim=1)
    along, across = -(ball * ahead).sum(dim=1), -(ball * left).sum(dim=1)
    yaw = torch.atan2(ahead[:, 1], ahead[:, 0])
    aside = _FOOT_Y * (across / _EITHER_FOOT).clamp(-1.0, 1.0) - across
    forward, sideways = _around_the_ball(along, across, aside, yaw)
    share = torch.tensor([1.0, _ASIDE_SHARE], device=ahead.device)
    velocity = ahead * forward.unsqueeze(1) * share + left * sideways.unsqueeze(1)
    turn = (4.0 * yaw).clamp(-_FASTEST_TURN, _FASTEST_TURN) * _falling(aside.abs(), _TURN_Y)
    going = 1.0 - _falling(distance, _GOAL)
    return Advice(
        {"walk": torch.ones_like(distance, dtype=torch.bool)},
        {
            "walk.lin_vel_x": going * velocity[:, 0].clamp(-_FASTEST, _FASTEST),
            "walk.lin_vel_y": going * velocity[:, 1].clamp(-_FASTEST_ASIDE, _FASTEST_ASIDE),
            "walk.ang_vel_z": going * turn,
        },
    )


def _around_the_ball(
    along: Tensor, across: Tensor, aside: Tensor, yaw: Tensor
) -> tuple[Tensor, Tensor]:
    """Return velocities along the line from ball to target and to the left of it [m/s], ``(n,)``.

    Args:
        along: Where the robot is on that line, seen from the ball [m].
        across: How far to the left of it [m].
        aside: How far to the left the robot has yet to go for its foot to meet the ball [m].
        yaw: Of the line, seen from the robot [rad].
    """
    aligned = _falling(aside.abs(), _ALIGNED_Y) * _falling(yaw.abs(), _ALIGNED_YAW)
    aligned = aligned * _falling(along, (-0.15, -0.05))
    back = (1.5 * (-_RUN_UP - along)).clamp(-_FASTEST, _FASTEST)
    forward = torch.lerp(back, torch.full_like(back, _FASTEST), aligned)
    sideways = (2.0 * aside).clamp(-_FASTEST_ASIDE, _FASTEST_ASIDE)
    # Whoever goes back past a ball at its feet takes it along.
    beside = _falling(across.abs(), _PASSING_Y) * (1.0 - _falling(along, _PASSING_X))
    away = 0.4 * ((across + 0.1) / _EITHER_FOOT).clamp(-1.0, 1.0)
    return forward * (1.0 - beside), torch.lerp(sideways, away, beside)


_WRIST_X, _WRIST_Y = 0.2985, 0.2135
"""Where the wrists are by default, before and beside the base [m]; reach commands start there."""
_ABOVE = 0.02
"""How far above that place hands stay, over the table [m]."""
_HALF_CUBE = 0.05
_FAR = 0.47
"""A cube farther ahead than this is walked to [m]."""
_LINED_UP = (0.05, 0.15)
"""From where to where a place aside goes from right to wrong, before going near the table [m]."""
_AT_TARGET = 0.08
"""A cube nearer than this across is left alone [m]."""


def push(goal: Mapping[str, Tensor]) -> Advice:
    """Stand aside of the cube, reach around it, push it across with the hand that is beyond it."""
    cube_x, cube_y = goal["object"][:, 0], goal["object"][:, 1]
    across = goal["target"][:, 1]
    to_left = across > 0.0
    side = torch.where(to_left, 1.0, -1.0)
    rest = across.abs()
    done = rest < _AT_TARGET
    # To the left the right hand pushes; it reaches from 0.46 m to 0.11 m aside.
    offset = cube_y + side * (rest + 0.06).clamp(0.2, 0.34)
    walking = (cube_x > _FAR) & ~done
    back_off = (1.5 * (cube_x - 0.6)).clamp(-0.3, 0.3)
    lined_up = _falling(offset.abs(), _LINED_UP)
    forward = torch.lerp(back_off, torch.full_like(back_off, 0.3), lined_up)
    x, y = _pushing_hand(goal, side, rest, done)
    zero, above = torch.zeros_like(x), torch.full_like(x, _ABOVE)
    back = torch.full_like(x, -0.1)
    return Advice(
        {"walk": walking, "reach": ~walking},
        {
            "walk.lin_vel_x": forward,
            "walk.lin_vel_y": (2.0 * offset).clamp(-0.4, 0.4),
            "walk.ang_vel_z": zero,
            "reach.left_x": torch.where(to_left, back, x - _WRIST_X),
            "reach.left_y": torch.where(to_left, zero, y - _WRIST_Y),
            "reach.left_z": above,
            "reach.right_x": torch.where(to_left, x - _WRIST_X, back),
            "reach.right_y": torch.where(to_left, y + _WRIST_Y, zero),
            "reach.right_z": above,
        },
    )


def _pushing_hand(
    goal: Mapping[str, Tensor], side: Tensor, rest: Tensor, done: Tensor
) -> tuple[Tensor, Tensor]:
    """Return where the hand is to be, seen from the base: outwards, forwards, then inwards [m]."""
    cube_x, cube_y = goal["object"][:, 0], goal["object"][:, 1]
    hand = torch.where((side > 0)[:, None], goal["right_wrist"], goal["left_wrist"])
    beyond = _falling(side * hand[:, 1], (-0.03, -0.01))
    beside = _falling(-hand[:, 0], (_HALF_CUBE, 2.0 * _HALF_CUBE))
    now = cube_y - side * _HALF_CUBE + hand[:, 1]
    outside = cube_y - side * (_HALF_CUBE + 0.06)
    pushed = now + side * (rest - 0.01).clamp(-0.02, 0.12)
    # On the wrong side and not before the cube it stays, until it has come back.
    y = torch.lerp(outside, torch.lerp(now, pushed, beyond), beside)
    y = torch.where(done, outside - 0.03 * side, y)
    before = (cube_x - 2.0 * _HALF_CUBE).clamp(max=0.28)
    x = torch.lerp(before, cube_x + 0.06, beyond)
    return x, y


_SIDES = ("left", "right")
_CROUCH = 0.75
"""Height of the base at which the hands are near the middle of the panel [m]."""


def crouch(goal: Mapping[str, Tensor]) -> Advice:
    """Bring the hands near the panel and stay so: no policy has lifted it yet, but many fell."""
    count = goal["object"].shape[0]
    height = goal["object"].new_full((count,), _CROUCH)
    return Advice({"squat": torch.ones_like(height, dtype=torch.bool)}, {"squat.height": height})


def wait(goal: Mapping[str, Tensor]) -> Advice:
    """Stand, hands over the table: no policy has brought the cube to the other one, but some fell.

    Walking at zero velocity would not do: it drifts into the table.
    """
    still = goal["object"].new_zeros(goal["object"].shape[0])
    numbers = dict.fromkeys((f"reach.{side}_{axis}" for side in _SIDES for axis in "xyz"), still)
    return Advice({"reach": torch.ones_like(still, dtype=torch.bool)}, numbers)


GUIDES: dict[str, Guide] = {
    "h1_ball": dribble,
    "h1_box": push,
    "h1_transfer": wait,
    "h1_lift": crouch,
    "h1_carry": crouch,
}
"""Task to the guide for it."""
