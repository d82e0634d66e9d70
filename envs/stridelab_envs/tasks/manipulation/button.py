"""Task "button": press a button on a wall with the left hand.

The published button is a point within the wall that no wrist can come near; here it is a disc on
the wall's face, and its front is to be touched. A wrist's own thickness leaves 0.03 m. Its height
is that of the policy's own document: the published 0.5-1.5 m goes beyond what the reaching skill
may be told, 0.82-1.32 m, in two fifths of the episodes.
"""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.robots.objects import WALL
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.common import (
    HIPS,
    KNEES,
    SHOULDERS,
    TRUNK,
    Part,
    alone,
    at,
)

WALL_X = 1.5
"""Distance of the wall's middle from the robot's start [m]."""


def _place(objects: Objects, ids: Tensor, draw: Draw) -> None:
    objects.place("wall", ids, at(ids, WALL_X, 0.0, 0.5 * WALL[2]))
    objects.place("button", ids, at(ids, WALL_X - 0.5 * WALL[0], draw["y"], draw["z"]))


BUTTON = Part(
    goal=Manipulation(
        name="button",
        objects=("wall", "button"),
        ranges={"button_y": [-0.5, 0.5], "button_z": [0.8, 1.2]},
        place=_place,
        handled="button",
        touch=("button", None),
        scalars=manipulation.base_height,
        error=manipulation.left_wrist_distance,
        tolerance=0.05,
    ),
    description="Humanoid: press a button on a wall with the left hand.",
    rewards={
        "left_wrist": (manipulation.left_wrist_near, 5.0, 4.0),
        "right_arm": (manipulation.right_arm_at_rest, 0.5, 4.0),
    },
    untouchable=(*TRUNK, *SHOULDERS, *HIPS, *KNEES),
)


def h1_button() -> TaskConfig:
    """Return the task ``h1_button``."""
    return alone(BUTTON, "h1_button")
