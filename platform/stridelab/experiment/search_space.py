"""What a sweep searches: one space of values for each dotted key of the experiment."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stridelab.experiment.coordinates import Coordinate
from stridelab.experiment.messages import show
from stridelab.experiment.overrides import set_value
from stridelab_envs.errors import ConfigError, unknown_name

NULL_OR = "null_or"
"""How a space is written that may also give null, which switches a term off."""
_SWITCH = "?"
"""Ends the name of the coordinate that says whether an optional space gives null."""
_LISTS = ("choice", "grid", "presets")
_MAX_STEPS = 2**53
"""Beyond this, steps are not told apart by floating-point numbers."""
_DIGITS = 12
"""Significant digits of the values of steps, so that 0.1 + 0.2 is 0.3."""


@dataclass(frozen=True)
class Space:
    """The values one key may take."""

    kind: str
    """``choice``, ``grid``, ``presets``, ``uniform``, ``loguniform``, ``reverseloguniform``,
    ``quniform``, ``randint`` or ``power_of_two``."""
    values: tuple[Any, ...]
    """The entries of a list, ``(low, high)``, or ``(low, high, step)`` for ``quniform``."""
    optional: bool = False
    """Whether null is drawn instead in half of all draws."""

    @property
    def is_grid(self) -> bool:
        """Whether every value is tried (in each sample of the rest)."""
        return self.kind in ("grid", "presets")

    @property
    def coordinate(self) -> Coordinate:
        """The axis on which this space is searched."""
        if self.kind in _LISTS:
            return Coordinate("category", 0, len(self.values) - 1)
        low, high = self.values[:2]
        match self.kind:
            case "loguniform":
                return Coordinate("log", float(low), float(high))
            case "reverseloguniform":
                return Coordinate("log", 1.0 - high, 1.0 - low)
            case "quniform":
                return Coordinate("integer", 0, round((high - low) / self.values[2]))
            case "randint":
                return Coordinate("integer", low, high - 1)
            case "power_of_two":
                return Coordinate("integer", low.bit_length() - 1, high.bit_length() - 1)
        return Coordinate("linear", float(low), float(high))

    def decode(self, number: float) -> Any:
        """Return the value that stands at ``number`` on the coordinate."""
        if self.kind in _LISTS:
            return copy.deepcopy(self.values[int(number)])
        match self.kind:
            case "quniform":
                low, _, step = self.values
                value = low + int(number) * step
                return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
            case "randint":
                return int(number)
            case "power_of_two":
                return 2 ** int(number)
        value = 1.0 - number if self.kind == "reverseloguniform" else float(number)
        return min(max(value, float(self.values[0])), float(self.values[1]))

    def encode(self, value: Any) -> float:
        """Return where ``value`` stands on the coordinate; the next allowed place for a stranger.

        Raises:
            ValueError: The value is none of a list, or no number.
        """
        if self.kind in _LISTS:
            return self.values.index(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")
        match self.kind:
            case "quniform":
                number = (value - self.values[0]) / self.values[2]
            case "power_of_two":
                number = math.log2(max(value, 1))
            case "reverseloguniform":
                number = 1.0 - value
            case _:
                number = value
        return self.coordinate.clip(number)

    def probes(self) -> tuple[Any, ...]:
        """Return values that show whether the key can take what this space offers.

        All entries of a list; of a range its ends and a crooked number between them, which no
        integer field accepts.
        """
        null = (None,) if self.optional else ()
        if self.kind in _LISTS:
            return (*self.values, *null)
        low, high = self.values[:2]
        if self.kind in ("quniform", "randint", "power_of_two"):
            axis = self.coordinate
            ends = sorted({axis.low, min(axis.low + 1, axis.high), axis.high})
            return (*(self.decode(number) for number in ends), *null)
        return (low, low + (high - low) / math.pi, high, *null)

    def written(self) -> dict[str, Any]:
        """Return the form of the file, which :func:`parse_space` reads."""
        inner = {self.kind: list(self.values)}
        return {NULL_OR: inner} if self.optional else inner


def parse_space(raw: Any) -> Space:
    """Read a space as it is written in a file: ``{kind: [...]}`` or a bare list (a grid).

    Raises:
        ConfigError: The kind is unknown, a list is empty, or bounds are inverted.
    """
    if isinstance(raw, list):
        raw = {"grid": raw}
    if not isinstance(raw, dict) or len(raw) != 1:
        example = "{uniform: [0.5, 2.0]}"
        raise ConfigError("", f"must be a list or one space such as {example}, got {show(raw)}")
    [(kind, values)] = raw.items()
    if kind == NULL_OR:
        return _optional(values)
    if kind not in _CHECKS:
        raise ConfigError("", unknown_name("search space", kind, [*_CHECKS, NULL_OR]))
    if not isinstance(values, list):
        raise ConfigError(kind, f"must be a list, got {show(values)}")
    if not values:
        raise ConfigError(kind, "must not be empty")
    _CHECKS[kind](kind, values)
    return Space(kind, tuple(values))


def _optional(raw: Any) -> Space:
    try:
        space = parse_space(raw)
    except ConfigError as error:
        raise error.under(NULL_OR) from None
    if space.optional or space.kind in _LISTS:
        raise ConfigError(NULL_OR, "must hold a range; in a list write null as one of the entries")
    return replace(space, optional=True)


@dataclass(frozen=True)
class SearchSpace:
    """The spaces of all swept keys."""

    spaces: Mapping[str, Space]
    """Space of each dotted key."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept keys, in the order of the file."""
        return tuple(self.spaces)

    @property
    def grids(self) -> dict[str, Space]:
        """The spaces of which every value is tried."""
        return {key: space for key, space in self.spaces.items() if space.is_grid}

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """The axes to search, by name; an optional space has a second one, its switch."""
        axes = {}
        for key, space in self.spaces.items():
            axes[key] = space.coordinate
            if space.optional:
                axes[key + _SWITCH] = Coordinate("category", 0, 1)
        return axes

    def decode(self, point: Mapping[str, float]) -> dict[str, Any]:
        """Return the assignment (dotted key to value) at a point of :attr:`coordinates`."""
        assignment = {
            key: self.spaces[key].decode(point[key]) if point.get(key + _SWITCH, 1) else None
            for key in self.spaces
        }
        return without_orphans(assignment)

    def encode(self, assignment: Mapping[str, Any]) -> dict[str, float]:
        """Return the coordinates that ``assignment`` fixes; of what is off only the switch.

        Raises:
            ValueError: A value is none of its space.
        """
        point: dict[str, float] = {}
        for key, space in self.spaces.items():
            if key not in assignment:
                continue
            value = assignment[key]
            if space.optional:
                point[key + _SWITCH] = int(value is not None)
            if value is not None or space.kind in _LISTS:
                point[key] = space.encode(value)
        return point

    def draw(self, random: np.random.RandomState) -> dict[str, float]:
        """Return a random point of :attr:`coordinates`."""
        return {name: axis.draw(random) for name, axis in self.coordinates.items()}

    def apply(self, experiment: Mapping[str, Any], assignment: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of ``experiment`` with the dotted keys of ``assignment`` set.

        Shorter keys are set first, so a preset never undoes a term chosen beside it.

        Raises:
            ConfigError: A key runs through something that is no mapping.
        """
        tree = copy.deepcopy(dict(experiment))
        for key in sorted(assignment, key=lambda key: key.count(".")):
            set_value(tree, key, copy.deepcopy(assignment[key]))
        return tree

    def probes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (key, assignment) pairs that together show whether every space fits.

        Each probe value of each key is tried beside the first probe value of all the others, null
        last, for it hides the keys below.
        """
        first = {
            key: next((value for value in space.probes() if value is not None), None)
            for key, space in self.spaces.items()
        }
        for key, space in self.spaces.items():
            for value in space.probes():
                yield key, without_orphans({**first, key: value})


def without_orphans(assignment: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``assignment`` without the keys below one that is null: what is off has no settings.

    Args:
        assignment: Dotted key to value, for example ``task.randomization.push: null`` beside
            ``task.randomization.push.speed: 0.5``.
    """
    off = tuple(f"{key}." for key, value in assignment.items() if value is None)
    return {key: value for key, value in assignment.items() if not key.startswith(off)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounds(kind: str, values: list[Any], names: str = "[low, high]") -> None:
    if len(values) != names.count(",") + 1:
        raise ConfigError(kind, f"must be {names}, got {len(values)} values")
    for value in values:
        if not _is_number(value):
            raise ConfigError(kind, f"must hold numbers, got {show(value)}")
    low, high = values[:2]
    if low >= high:
        raise ConfigError(kind, f"the lower bound {low} must be below the upper bound {high}")


def _log_bounds(kind: str, values: list[Any]) -> None:
    _bounds(kind, values)
    if values[0] <= 0:
        raise ConfigError(kind, f"the lower bound must be above 0, got {values[0]}")


def _reverse_log_bounds(kind: str, values: list[Any]) -> None:
    _bounds(kind, values)
    if values[0] < 0:
        raise ConfigError(kind, f"the lower bound must be at least 0, got {values[0]}")
    if values[1] >= 1:
        message = f"the upper bound must be below 1, got {values[1]}: 1 - value is what is drawn"
        raise ConfigError(kind, message)


def _stepped_bounds(kind: str, values: list[Any]) -> None:
    _bounds(kind, values, "[low, high, step]")
    *bounds, step = values
    if step <= 0:
        raise ConfigError(kind, f"the step must be above 0, got {step}")
    for bound in bounds:
        steps = bound / step
        if not abs(steps) <= _MAX_STEPS:
            raise ConfigError(kind, f"the step {step} is too small for the bound {bound}")
        if not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ConfigError(kind, f"the bound {bound} must be a multiple of the step {step}")


def _integer_bounds(kind: str, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(kind, f"must hold integers, got {show(value)}")
    _bounds(kind, values)


def _power_bounds(kind: str, values: list[Any]) -> None:
    _integer_bounds(kind, values)
    for value in values:
        if value < 1 or value & (value - 1):
            below = 2 ** (max(value, 1).bit_length() - 1)
            near = f"{below} or {2 * below}" if value > 1 else "1"
            raise ConfigError(kind, f"must hold powers of two, got {value} (nearest: {near})")


def _entries(kind: str, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConfigError(kind, f"holds {show(value)} twice")


def _names(kind: str, values: list[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(kind, f"must hold names of presets, got {show(value)}")
    _entries(kind, values)


_CHECKS: dict[str, Callable[[str, list[Any]], None]] = {
    "choice": _entries,
    "grid": _entries,
    "presets": _names,
    "uniform": _bounds,
    "loguniform": _log_bounds,
    "reverseloguniform": _reverse_log_bounds,
    "quniform": _stepped_bounds,
    "randint": _integer_bounds,
    "power_of_two": _power_bounds,
}
