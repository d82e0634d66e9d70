"""What a sweep searches: one space of values for each dotted key of the experiment."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stridelab.experiment.messages import show
from stridelab.experiment.overrides import set_value
from stridelab_envs.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Space:
    """The values one key may take."""

    kind: str
    """``choice``, ``grid``, ``presets``, ``uniform``, ``loguniform``, ``quniform`` or
    ``randint``."""
    values: tuple[Any, ...]
    """The entries of a list, ``(low, high)``, or ``(low, high, step)`` for ``quniform``."""

    @property
    def is_grid(self) -> bool:
        """Whether every value is tried (in each sample of the rest)."""
        return self.kind in ("grid", "presets")

    def probes(self) -> tuple[Any, ...]:
        """Return values that show whether the key can take what this space offers.

        All entries of a list; of a range its ends and a crooked number between them, which no
        integer field accepts.
        """
        if self.kind in ("choice", "grid", "presets"):
            return self.values
        low, high = self.values[:2]
        if self.kind == "randint":
            return (low, high - 1)
        if self.kind == "quniform":
            return (low, low + self.values[2], high)
        return (low, low + (high - low) / math.pi, high)

    def to_tune(self, *, grid: bool) -> Any:
        """Return the Ray Tune domain; a grid becomes a choice when ``grid`` is False."""
        from ray import tune  # imported late: reading a file must not wait for Ray

        if self.is_grid:
            return tune.grid_search(list(self.values)) if grid else tune.choice(list(self.values))
        if self.kind == "choice":
            return tune.choice(list(self.values))
        return getattr(tune, self.kind)(*self.values)


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
    if kind not in _CHECKS:
        raise ConfigError("", unknown_name("search space", kind, _CHECKS))
    if not isinstance(values, list):
        raise ConfigError(kind, f"must be a list, got {show(values)}")
    if not values:
        raise ConfigError(kind, "must not be empty")
    _CHECKS[kind](kind, values)
    return Space(kind, tuple(values))


@dataclass(frozen=True)
class SearchSpace:
    """The spaces of all swept keys."""

    spaces: Mapping[str, Space]
    """Space of each dotted key."""
    search: str = "random"
    """Name of the search algorithm; only ``random`` runs through grids."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept keys, in the order of the file."""
        return tuple(self.spaces)

    @property
    def grid_size(self) -> int:
        """Number of combinations of all grids (1 without one); trials are this times samples."""
        if self.search != "random":
            return 1
        return math.prod(len(space.values) for space in self.spaces.values() if space.is_grid)

    def to_tune(self) -> dict[str, Any]:
        """Return the Ray Tune domain of each dotted key, as one flat mapping."""
        grid = self.search == "random"
        return {key: space.to_tune(grid=grid) for key, space in self.spaces.items()}

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

        Each probe value of each key is tried beside the first probe value of all the others.
        """
        first = {key: space.probes()[0] for key, space in self.spaces.items()}
        for key, space in self.spaces.items():
            for value in space.probes():
                yield key, {**first, key: value}


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


def _stepped_bounds(kind: str, values: list[Any]) -> None:
    _bounds(kind, values, "[low, high, step]")
    *bounds, step = values
    if step <= 0:
        raise ConfigError(kind, f"the step must be above 0, got {step}")
    for bound in bounds:
        steps = bound / step
        if not math.isfinite(steps) or not math.isclose(steps, round(steps), abs_tol=1e-9):
            raise ConfigError(kind, f"the bound {bound} must be a multiple of the step {step}")


def _integer_bounds(kind: str, values: list[Any]) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(kind, f"must hold integers, got {show(value)}")
    _bounds(kind, values)


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
    "quniform": _stepped_bounds,
    "randint": _integer_bounds,
}
