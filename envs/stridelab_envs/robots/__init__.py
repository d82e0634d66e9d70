"""Robots: each a folder with an MJCF file written from primitives and a data-only ``SPEC``.

A package adds robots by entry points of the group ``stridelab.robots``: the name is the robot's,
the value a :class:`RobotSpec`.
"""

from __future__ import annotations

from stridelab_envs.errors import UserError
from stridelab_envs.plugins import Registry
from stridelab_envs.robots.biped17 import SPEC as BIPED17
from stridelab_envs.robots.h1 import SPEC as H1
from stridelab_envs.robots.spec import RobotSpec
from stridelab_envs.robots.x1 import SPEC as X1

__all__ = ["BUILT_IN", "RobotSpec", "get_robot", "register_robot", "robot_names"]

BUILT_IN = (BIPED17, H1, X1)
"""The robots of this package."""

_robots: Registry[RobotSpec] = Registry("robot", "stridelab.robots")


def register_robot(spec: RobotSpec) -> None:
    """Make a robot known under its name.

    Raises:
        ValueError: If the name is taken.
    """
    _robots.register(spec.name, spec)


def robot_names() -> list[str]:
    """Return the names of all robots, sorted."""
    return _robots.names()


def get_robot(name: str) -> RobotSpec:
    """Return the robot called ``name``.

    Raises:
        ConfigError: If there is no such robot; the message names the nearest and all known ones.
        UserError: If an installed package offers something else than a robot of this name.
    """
    spec = _robots.find(name, "robot")
    if not isinstance(spec, RobotSpec) or spec.name != name:
        offered = spec.name if isinstance(spec, RobotSpec) else type(spec).__name__
        raise UserError(
            f'robot "{name}" of {_robots.origin(name)} must be a RobotSpec with name="{name}", '
            f"got {offered}"
        )
    return spec


for _spec in BUILT_IN:
    register_robot(_spec)
