"""Task "reach": bring both wrists to marks in the room.

The marks lie as in the policy's own document, near the robot; the published task has them up to 2 m
away, where a mark's sign was lost.
"""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.common import ELBOWS, SHOULDERS, TRUNK, Part, alone, points


def _place(objects: Objects, ids: Tensor, draw: Draw) -> None:
    left, right = points(draw, "left", "right")
    objects.place("left_target", ids, left)
    objects.place("right_target", ids, right)


REACH = Part(
    goal=Manipulation(
        name="reach",
        objects=("left_target", "right_target"),
        ranges={
            "reach_left_x": [0.2, 0.6],
            "reach_left_y": [0.1, 0.5],
            "reach_left_z": [0.7, 1.3],
            "reach_right_x": [0.2, 0.6],
            "reach_right_y": [-0.5, -0.1],
            "reach_right_z": [0.7, 1.3],
        },
        place=_place,
        # Nothing is handled: the marks themselves tell where to stand.
        handled="left_target",
        target="right_target",
        touch=("left_target", "right_target"),
        scalars=manipulation.base_height,
        error=manipulation.wrist_error,
        tolerance=0.05,
    ),
    description="Humanoid: bring both wrists to marks in the room.",
    rewards={"wrists": (manipulation.wrists_near, 5.0, 4.0)},
    untouchable=(*TRUNK, *SHOULDERS, *ELBOWS),
)


def h1_reach_task() -> TaskConfig:
    """Return the task ``h1_reach_task``."""
    return alone(REACH, "h1_reach_task")
