"""Task "cabinet": close both doors of a cabinet.

The published task rewards wrists that are near the middle of the closed cabinet; here each is to be
where its door can be pushed, near the free edge on the outside.
"""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.robots.objects import DOORS
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

POSITION = (1.5, 0.0, 1.0)
"""Of the cabinet's origin, seen from the robot's start [m]."""


def _place(objects: Objects, ids: Tensor, draw: Draw) -> None:
    objects.place("cabinet", ids, at(ids, *POSITION))
    for door in DOORS:
        objects.open_hinge(door, ids, draw["angle"])


CABINET = Part(
    goal=Manipulation(
        name="cabinet",
        objects=("cabinet",),
        ranges={"cabinet_angle": [1.0, 1.0]},
        place=_place,
        handled="cabinet",
        touch=("left_door_push", "right_door_push"),
        scalars=manipulation.door_angles,
        scalar_count=2,
        error=manipulation.door_error,
        tolerance=0.1,
    ),
    description="Humanoid: close both doors of a cabinet.",
    rewards={
        "wrists": (manipulation.wrists_near, 5.0, 4.0),
        "doors": (manipulation.doors_closed, 5.0, 4.0),
    },
    untouchable=(*TRUNK, *SHOULDERS, *HIPS, *KNEES),
)


def h1_cabinet() -> TaskConfig:
    """Return the task ``h1_cabinet``."""
    return alone(CABINET, "h1_cabinet")
