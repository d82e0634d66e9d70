"""Task "ball": shoot a ball to a point of a goal.

The published ball has a radius of 0.2 m, starts within the floor and weighs 33 kg by mistake; here
it is a football of 0.1 m and 0.3-0.5 kg that lies on the floor. The robot is rewarded for being
near the ball, not near the place where the ball was. A goal does not end the episode: where every
step pays, an end would be a loss.
"""

from __future__ import annotations

from torch import Tensor

from stridelab_envs.mdp import manipulation
from stridelab_envs.mdp.goal import Draw, Manipulation
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.robots.objects import BALL_RADIUS
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.common import (
    ELBOWS,
    HIPS,
    SHOULDERS,
    TRUNK,
    Part,
    alone,
    at,
)

GOAL_X = 5.0
"""Distance of the goal from the robot's start [m]."""


def _place(objects: Objects, ids: Tensor, draw: Draw) -> None:
    objects.place("goal_frame", ids, at(ids, GOAL_X, 0.0, 0.0))
    objects.place("target", ids, at(ids, GOAL_X, draw["goal_y"], draw["goal_z"]))
    objects.place("ball", ids, at(ids, draw["x"], draw["y"], BALL_RADIUS))
    objects.set_mass("ball", ids, draw["mass"])


BALL = Part(
    goal=Manipulation(
        name="ball",
        objects=("ball", "goal_frame", "target"),
        ranges={
            "ball_x": [0.5, 1.0],
            "ball_y": [-0.3, 0.3],
            "ball_goal_y": [-2.0, 2.0],
            "ball_goal_z": [0.0, 0.5],
            "ball_mass": [0.3, 0.5],
        },
        place=_place,
        handled="ball",
        target="target",
        moved="ball",
        scalars=manipulation.ball_velocity,
        scalar_count=2,
        error=manipulation.target_distance,
        tolerance=0.5,
        hold=0.0,
    ),
    description="Humanoid: shoot a ball to a point of a goal.",
    rewards={
        "base": (manipulation.base_near, 1.0, 4.0),
        "goal": (manipulation.target_near, 5.0, 1.0),
    },
    untouchable=(*TRUNK, *SHOULDERS, *ELBOWS, *HIPS),
)


def h1_ball() -> TaskConfig:
    """Return the task ``h1_ball``."""
    return alone(BALL, "h1_ball")
