"""Robots: each a folder with an MJCF file written from primitives and a data-only ``SPEC``."""

from __future__ import annotations

from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.robots.biped17 import SPEC as BIPED17
from stridelab_envs.robots.h1 import SPEC as H1
from stridelab_envs.robots.spec import RobotSpec
from stridelab_envs.robots.x1 import SPEC as X1

__all__ = ["ROBOTS", "RobotSpec", "get_robot"]

ROBOTS: dict[str, RobotSpec] = {spec.name: spec for spec in (BIPED17, H1, X1)}
"""Robots by name."""


def get_robot(name: str) -> RobotSpec:
    """Return the robot called ``name``.

    Raises:
        ConfigError: If there is no such robot; the message names the nearest and all known ones.
    """
    try:
        return ROBOTS[name]
    except KeyError:
        raise ConfigError("robot", unknown_name("robot", name, ROBOTS)) from None
