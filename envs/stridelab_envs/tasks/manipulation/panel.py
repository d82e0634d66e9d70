"""Tasks "lift" and "carry": lift a panel that stands on the floor, and carry it elsewhere."""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.robots.objects import PANEL
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.common import HIPS, KNEES, TRUNK, Part, alone, at

STANDING_Z = 0.5 * PANEL[2]
"""Height of the centre of the standing panel [m]."""
_START = {"x": [0.5, 0.7], "y": [-0.05, 0.05], "mass": [0.1, 2.0]}
_BODIES = (*TRUNK, *HIPS, *KNEES)


def _place_lift(objects: Objects, ids: Tensor, draw: Draw) -> None:
    _place(objects, ids, draw, 0.0, 0.0)


def _place_carry(objects: Objects, ids: Tensor, draw: Draw) -> None:
    _place(objects, ids, draw, draw["goal_dx"], draw["goal_dy"])


def _place(
    objects: Objects, ids: Tensor, draw: Draw, dx: float | Tensor, dy: float | Tensor
) -> None:
    x, y = draw["x"], draw["y"]
    objects.place("panel", ids, at(ids, x, y, STANDING_Z))
    objects.set_mass("panel", ids, draw["mass"])
    objects.place("target", ids, at(ids, x + dx, y + dy, STANDING_Z + draw["goal_dz"]))


LIFT = Part(
    goal=Manipulation(
        name="lift",
        objects=("panel", "target"),
        ranges={
            **{f"lift_{name}": bounds for name, bounds in _START.items()},
            "lift_goal_dz": [0.3, 0.6],
        },
        place=_place_lift,
        handled="panel",
        target="target",
        touch=("panel_left", "panel_right"),
        moved="panel",
        scalars=manipulation.base_height,
        error=manipulation.target_height_error,
        tolerance=0.05,
    ),
    description="Humanoid: lift a panel between the hands.",
    rewards={
        "height": (manipulation.target_height_near, 5.0, 4.0),
        "wrists": (manipulation.wrists_near, 5.0, 4.0),
    },
    untouchable=_BODIES,
)
CARRY = Part(
    goal=Manipulation(
        name="carry",
        objects=("panel", "target"),
        ranges={
            **{f"carry_{name}": bounds for name, bounds in _START.items()},
            "carry_goal_dx": [0.3, 1.0],
            "carry_goal_dy": [-0.3, 0.3],
            "carry_goal_dz": [0.3, 0.6],
        },
        place=_place_carry,
        handled="panel",
        target="target",
        touch=("panel_left", "panel_right"),
        moved="panel",
        scalars=manipulation.base_height,
        error=manipulation.target_error,
        tolerance=0.10,
    ),
    description="Humanoid: carry a panel to another place.",
    rewards={
        "target": (manipulation.target_near, 5.0, 4.0),
        "wrists": (manipulation.wrists_near, 5.0, 4.0),
    },
    untouchable=_BODIES,
)


def h1_lift() -> TaskConfig:
    """Return the task ``h1_lift``."""
    return alone(LIFT, "h1_lift")


def h1_carry() -> TaskConfig:
    """Return the task ``h1_carry``."""
    return alone(CARRY, "h1_carry")
