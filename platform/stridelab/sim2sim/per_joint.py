"""Values of joints, written as one number, a list in joint order, or by patterns of names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainValidator

from stridelab.experiment.messages import show
from stridelab_envs.errors import ConfigError, unknown_name


def _numbers(value: Any) -> float | list[float] | dict[str, float]:
    if isinstance(value, dict):
        if not value:
            raise ConfigError("", "must hold at least one pattern")
        return {name: _number(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(f"[{index}]", item) for index, item in enumerate(value)]
    return _number("", value)


def _limits(value: Any) -> float | list[float] | dict[str, float]:
    """Refuse negative numbers too."""
    numbers = _numbers(value)
    entries = numbers.items() if isinstance(numbers, dict) else [("", numbers)]
    for name, entry in entries:
        for number in entry if isinstance(entry, list) else [entry]:
            if number < 0:
                raise ConfigError(name, f"must not be negative, got {number:g}")
    return numbers


def _number(path: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(path, f"must be a number, got {show(value)}")
    return float(value)


PerJoint = Annotated[float | list[float] | dict[str, float], PlainValidator(_numbers)]
"""A value of every joint: one number for all, a list in joint order, or patterns of joint names
(``"*_knee"``; of several that match, the last counts)."""
NonNegativePerJoint = Annotated[float | list[float] | dict[str, float], PlainValidator(_limits)]
"""The same, 0 or above."""


def for_joints(
    value: float | list[float] | dict[str, float] | None,
    joints: Sequence[str],
    path: str,
    default: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the value of each joint, ``(num_joints,)``.

    Args:
        value: As written in the layout; None stands for ``default``.
        joints: Names in the policy's order.
        path: Dotted path of the value, for messages.
        default: Values of joints that no pattern matches, ``(num_joints,)``; None refuses them.

    Raises:
        ConfigError: A list has another length, a pattern matches no joint, or a joint has none.
    """
    result = np.full(len(joints), np.nan) if default is None else np.array(default, dtype=float)
    if value is None:
        return result
    if isinstance(value, list):
        if len(value) != len(joints):
            raise ConfigError(
                path, f"must have {len(joints)} entries, one a joint, has {len(value)}"
            )
        return np.array(value)
    if isinstance(value, float):
        return np.full(len(joints), value)
    for pattern, number in value.items():
        matches = [index for index, joint in enumerate(joints) if fnmatchcase(joint, pattern)]
        if not matches:
            raise ConfigError(f"{path}.{pattern}", unknown_name("joint", pattern, joints))
        result[matches] = number
    if (missing := np.flatnonzero(np.isnan(result))).size:
        raise ConfigError(path, f'no pattern matches joint "{joints[missing[0]]}"')
    return result
