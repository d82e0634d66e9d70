"""How terms look in a mirror: left and right change places across the base's x-z plane.

A robot and its mirror image obey the same physics. What a term observes of the image follows from
what it observes of the robot: its numbers change places and signs. Which ones, a *rule* says, and
:func:`mirrored` puts the rule on the term's function. World-frame quantities mirror across the
world's x-z plane, so they need ground that looks alike on either side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.mdp.terms import CommandTerm, TermFunction
from stridelab_envs.robots.spec import RobotSpec

_COMMAND_SIGNS = {
    "lin_vel_x": 1.0,
    "lin_vel_y": -1.0,
    "ang_vel_z": -1.0,
    "height": 1.0,
    "dx": 1.0,
    "dy": -1.0,
    "foot": -1.0,
    "x": 1.0,
    "y": -1.0,
    "z": 1.0,
}
"""Signs of a command's columns, by their names without the side."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What rules may look at."""

    robot: RobotSpec
    commands: Mapping[str, CommandTerm]


@dataclass(frozen=True, kw_only=True)
class Unmirrored:
    """Rows in which a term looks the same in the mirror, whatever its columns and signs."""

    terms: tuple[TermFunction, ...]
    """Terms of the same group that tell, with the same parameters as the mirrored one."""
    when: Callable[[Tensor], Tensor]
    """Says of their values, side by side ``(..., k)``, which rows those are, ``(...)`` bool."""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """The mirror image of a term: column i is ``sign[i]`` times column ``source[i]``."""

    source: tuple[int, ...]
    sign: tuple[float, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters in which the term that holds the columns differs from this one, if it is another
    term of the group with the same function."""
    unless: Unmirrored | None = None
    """Rows that stay as they are."""
    plus: Mirror | None = None
    """What is added to the columns, where one term is measured from another."""


Rule = Callable[..., Mirror]
"""``rule(scene, **params)`` with the term's own parameters; raises :class:`ConfigError`."""
FuncT = TypeVar("FuncT", bound=Callable[..., Any])


def mirrored(rule: Rule) -> Callable[[FuncT], FuncT]:
    """Return a decorator that says how a term's function looks in the mirror."""

    def mark(func: FuncT) -> FuncT:
        vars(func)["mirror"] = rule
        return func

    return mark


def rule_of(func: Callable[..., Any]) -> Rule | None:
    """Return the rule of a term's function; None if it has none."""
    rule: Rule | None = getattr(func, "mirror", None)
    return rule


def signed(*signs: float) -> Rule:
    """Return the rule of columns that keep their places."""
    mirror = Mirror(source=tuple(range(len(signs))), sign=signs)

    def rule(scene: Scene, **params: Any) -> Mirror:
        return mirror

    return rule


UNCHANGED = signed(1.0)
"""One number that looks the same in the mirror."""
VECTOR = signed(1.0, -1.0, 1.0)
"""A velocity, position or direction."""
AXIAL = signed(-1.0, 1.0, -1.0)
"""An angular velocity, or roll, pitch and yaw: what turns about y stays."""


def joints(scene: Scene, **params: Any) -> Mirror:
    """Rule of one number a joint."""
    robot = scene.robot
    return Mirror(
        source=tuple(robot.joints.index(partner) for partner, _ in robot.mirror),
        sign=tuple(float(sign) for _, sign in robot.mirror),
    )


def feet(*signs: float) -> Rule:
    """Return the rule of ``len(signs)`` numbers a foot."""
    return lambda scene, **params: swapped(scene.robot.feet, signs)


def wrists(*signs: float) -> Rule:
    """Return the rule of ``len(signs)`` numbers a wrist."""
    return lambda scene, **params: swapped(scene.robot.wrists, signs)


def swapped(names: Sequence[str], signs: Sequence[float]) -> Mirror:
    """Return the mirror image of blocks called ``names``, in which sides change places.

    Raises:
        ConfigError: If a name's other side is missing.
    """
    width = len(signs)
    source: list[int] = []
    for name in names:
        if other_side(name) not in names:
            raise ConfigError("", f"{name} has no mirror image: there is no {other_side(name)}")
        start = names.index(other_side(name)) * width
        source += range(start, start + width)
    return Mirror(source=tuple(source), sign=tuple(signs) * len(names))


def other_side(name: str) -> str:
    """Return ``name`` with left and right exchanged."""
    return re.sub("left|right", lambda side: {"left": "right", "right": "left"}[side[0]], name)


def command(scene: Scene, name: str) -> Mirror:
    """Rule of a command's numbers, which are known by the names of its ranges.

    Raises:
        ConfigError: If one of them has no known mirror image.
    """
    ranges = command_params(scene, name).get("ranges")
    if not isinstance(ranges, Mapping):
        raise ConfigError("", f'the command "{name}" has no named ranges to be mirrored by')
    return command_columns(scene, name, tuple(ranges))


def command_columns(scene: Scene, name: str, columns: Sequence[str]) -> Mirror:
    """Rule of some of a command's numbers.

    Raises:
        ConfigError: If one of them has no known mirror image.
    """
    source, sign = [], []
    for column in columns:
        kind = re.sub("^(left|right)_", "", column)
        if kind not in _COMMAND_SIGNS or other_side(column) not in columns:
            raise ConfigError("", f'"{column}" of the command "{name}" has no known mirror image')
        source.append(columns.index(other_side(column)))
        sign.append(_COMMAND_SIGNS[kind])
    return Mirror(source=tuple(source), sign=tuple(sign))


def command_params(scene: Scene, name: str) -> Mapping[str, Any]:
    """Return the parameters of a command.

    Raises:
        ConfigError: If there is no such command.
    """
    if name not in scene.commands:
        raise ConfigError("", unknown_name("command", name, scene.commands))
    return scene.commands[name].params


def midplane_body(scene: Scene, body: str) -> Mirror:
    """Rule of one number of a body that is its own mirror image.

    Raises:
        ConfigError: If the body belongs to a side.
    """
    if other_side(body) != body:
        raise ConfigError("", f"{body} is on one side, so this number has no mirror image")
    return Mirror(source=(0,), sign=(1.0,))
