"""Tasks "box" and "transfer": move a cube over a table, and from one table to another.

A goal of "box" may lie beyond the table's edge in the published task; here it stays on the table.
The cube weighs 1.0 kg in both tasks, as it does there in effect.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.robots.objects import CUBE, TABLE
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.common import SHOULDERS, TRUNK, Part, alone, at

TABLE_X, TABLE_Z = 1.0, 0.975
"""Of the front table's top, seen from the robot's start [m]; the back one is behind the robot."""
RESTING_Z = TABLE_Z + 0.5 * TABLE[2] + 0.5 * CUBE
"""Height of the centre of a cube that lies on a table [m]."""
_LARGEST_Y = 0.5 * (TABLE[1] - CUBE)
_START = {"x": [-0.45, -0.35], "y": [-0.3, 0.3]}
_BODIES = (*TRUNK, *SHOULDERS)


def _place_cube(objects: Objects, ids: Tensor, draw: Draw) -> Tensor:
    """Put the cube on the front table; return where."""
    objects.place("front_table", ids, at(ids, TABLE_X, 0.0, TABLE_Z))
    cube = at(ids, TABLE_X + draw["x"], draw["y"], RESTING_Z)
    objects.place("cube", ids, cube)
    return cube


def _place_box(objects: Objects, ids: Tensor, draw: Draw) -> None:
    cube = _place_cube(objects, ids, draw)
    y = (cube[:, 1] + draw["goal_dy"]).clamp(-_LARGEST_Y, _LARGEST_Y)
    objects.place("target", ids, torch.stack([cube[:, 0] + draw["goal_dx"], y, cube[:, 2]], dim=1))


def _place_transfer(objects: Objects, ids: Tensor, draw: Draw) -> None:
    _place_cube(objects, ids, draw)
    objects.place("back_table", ids, at(ids, -TABLE_X, 0.0, TABLE_Z))
    objects.place("target", ids, at(ids, draw["goal_x"] - TABLE_X, draw["goal_y"], RESTING_Z))


BOX = Part(
    goal=Manipulation(
        name="box",
        objects=("front_table", "cube", "target"),
        ranges={
            **{f"box_{name}": bounds for name, bounds in _START.items()},
            "box_goal_dx": [0.0, 0.1],
            "box_goal_dy": [-0.5, 0.5],
        },
        place=_place_box,
        handled="cube",
        target="target",
        touch=("cube_left", "cube_right"),
        moved="cube",
        scalars=manipulation.base_height,
        error=manipulation.target_error,
        tolerance=0.05,
        resting_height=RESTING_Z,
    ),
    description="Humanoid: push a box over a table.",
    rewards={
        "target": (manipulation.target_near, 5.0, 4.0),
        "wrists": (manipulation.wrists_near, 5.0, 4.0),
    },
    untouchable=_BODIES,
)
TRANSFER = Part(
    goal=Manipulation(
        name="transfer",
        objects=("front_table", "back_table", "cube", "target"),
        ranges={
            **{f"transfer_{name}": bounds for name, bounds in _START.items()},
            "transfer_goal_x": [0.35, 0.45],
            "transfer_goal_y": [-0.3, 0.3],
        },
        place=_place_transfer,
        handled="cube",
        target="target",
        touch=("cube_left", "cube_right"),
        moved="cube",
        scalars=manipulation.base_height,
        error=manipulation.target_error,
        tolerance=0.05,
        resting_height=RESTING_Z,
    ),
    description="Humanoid: bring a box to the table behind.",
    rewards={
        "target": (manipulation.target_near, 5.0, 4.0),
        "wrists": (manipulation.wrists_near, 1.0, 4.0),
    },
    untouchable=_BODIES,
)


def h1_box() -> TaskConfig:
    """Return the task ``h1_box``."""
    return alone(BOX, "h1_box")


def h1_transfer() -> TaskConfig:
    """Return the task ``h1_transfer``."""
    return alone(TRANSFER, "h1_transfer")
