"""Uneven ground: square tiles of a kind and a difficulty, joined to one height field.

Kinds and sizes are those of the X1's published training (agibot_x1_train), where difficulty 1 is
the hardest; greater ones go on along the same line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError, unknown_name

TILE = 8.0
"""Side of a tile [m]."""
TILES = 6
"""Tiles along each side of the field."""
CELL = 0.1
"""Distance of neighbouring heights [m]."""
BORDER = 25.0
"""Width of the flat ground around the field, at height 0 [m]."""
HARDEST = 10.0
"""Greatest difficulty."""

_CELLS = round(TILE / CELL)
_FOOTPRINT = 0.25
"""A robot starts above all ground within this distance along x and y [m]."""
_MIXTURE = {"flat": 0.3, "rough": 0.2, "slopes": 0.4, "discrete": 0.1}
_MIXED_DIFFICULTIES = (0.5 / 0.95, 0.75 / 0.95, 0.9 / 0.95)


@dataclass(frozen=True, kw_only=True)
class TerrainConfig:
    """What the ground is like."""

    kind: str = "flat"
    """Name of the kind, one of ``KINDS``."""
    difficulty: float = 1.0
    """How hard it is to walk on, 0 to ``HARDEST``; not used by ``flat``."""
    seed: int = 0
    """Seed of the heights; equal seeds give equal ground."""

    @classmethod
    def parse(cls, path: str, value: Any) -> TerrainConfig:
        """Return the config of a user's value: null, a kind's name, or a mapping.

        Raises:
            ConfigError: If a key or a value is wrong.
        """
        if value is None:
            return cls()
        settings = {"kind": value} if isinstance(value, str) else value
        if not isinstance(settings, Mapping):
            raise ConfigError(path, f"must be a kind's name or a mapping, got {value!r}")
        known = [item.name for item in fields(cls)]
        for name in settings:
            if name not in known:
                raise ConfigError(f"{path}.{name}", unknown_name("terrain setting", name, known))
        terrain = cls(**settings)
        terrain.check(path)
        return terrain

    def check(self, path: str) -> None:
        """Raise :class:`ConfigError` if a value is out of range."""
        if self.kind not in KINDS:
            raise ConfigError(f"{path}.kind", unknown_name("terrain", self.kind, KINDS))
        difficulty = self.difficulty
        if isinstance(difficulty, bool) or not isinstance(difficulty, int | float):
            raise ConfigError(f"{path}.difficulty", f"must be a number, got {difficulty!r}")
        if not 0.0 <= difficulty <= HARDEST:
            message = f"must be between 0 and {HARDEST:g}, got {difficulty:g}"
            raise ConfigError(f"{path}.difficulty", message)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            message = f"must be a whole number of at least 0, got {self.seed!r}"
            raise ConfigError(f"{path}.seed", message)


class Terrain:
    """A field of heights around the world's origin.

    Args:
        config: Kind, difficulty and seed; any kind but ``flat``.
    """

    def __init__(self, config: TerrainConfig) -> None:
        rng = np.random.default_rng(config.seed)
        count = TILES * _CELLS + 1
        heights = np.zeros((count, count))
        for row in range(TILES):
            for column in range(TILES):
                kind, difficulty = _tile_kind(config, rng)
                y, x = row * _CELLS, column * _CELLS
                heights[y : y + _CELLS + 1, x : x + _CELLS + 1] = _TILES[kind](rng, difficulty)
        heights[[0, -1]] = heights[:, [0, -1]] = 0.0  # flush with the border
        self.heights = heights
        """Heights [m]; row i is at ``y = -half + i * CELL``, column j at x likewise."""
        self.half = 0.5 * TILES * TILE
        """Half the side of the field [m]."""
        self._heights = torch.from_numpy(heights).float()
        reach = round(_FOOTPRINT / CELL)
        self._highest = torch.nn.functional.max_pool2d(
            self._heights[None, None], 2 * reach + 1, stride=1, padding=reach
        )[0, 0]

    def height(self, points: Tensor) -> Tensor:
        """Return the ground's height [m] under world points ``(..., 2)`` or ``(..., 3)``.

        It is exact: each cell is two triangles that meet along its rising diagonal, as MuJoCo
        has it. Outside of the field the ground is flat, at 0.
        """
        place = (points[..., :2] + self.half) / CELL
        last = self._heights.shape[0] - 2
        x, y = place[..., 0], place[..., 1]
        column, row = x.floor().clamp(0, last).long(), y.floor().clamp(0, last).long()
        a, b = (x - column).clamp(0.0, 1.0), (y - row).clamp(0.0, 1.0)
        corner = self._heights[row, column]
        opposite = self._heights[row + 1, column + 1]
        # The corner between the two along the longer way first.
        between = torch.where(a > b, self._heights[row, column + 1], self._heights[row + 1, column])
        longer, shorter = torch.maximum(a, b), torch.minimum(a, b)
        return corner + (between - corner) * longer + (opposite - between) * shorter

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return ``count`` places on the field to start from [m], ``(count, 2)``."""
        unit = torch.rand(count, 2, generator=generator, dtype=torch.float64)
        return (2.0 * unit - 1.0) * self.half

    def highest(self, points: Tensor) -> Tensor:
        """Return the greatest height [m] of the ground that a robot at each point stands on.

        Args:
            points: World points ``(..., 2)`` or ``(..., 3)``.
        """
        last = self._heights.shape[0] - 1
        cells = ((points[..., :2] + self.half) / CELL).round().clamp(0, last).long()
        return self._highest[cells[..., 1], cells[..., 0]]


def _tile_kind(config: TerrainConfig, rng: np.random.Generator) -> tuple[str, float]:
    if config.kind != "mixed":
        return config.kind, config.difficulty
    kind = rng.choice(list(_MIXTURE), p=list(_MIXTURE.values()))
    return str(kind), config.difficulty * float(rng.choice(_MIXED_DIFFICULTIES))


Tile = np.ndarray
"""Heights of a tile [m], ``(_CELLS + 1, _CELLS + 1)``."""


def _flat(rng: np.random.Generator, difficulty: float) -> Tile:
    return np.zeros((_CELLS + 1, _CELLS + 1))


def _rough(rng: np.random.Generator, difficulty: float) -> Tile:
    """Bumps of 5 mm, and 5 mm more at difficulty 1."""
    return _noise(rng, 0.005 + 0.005 * difficulty)


def _slopes(rng: np.random.Generator, difficulty: float) -> Tile:
    """A pyramid or a pit with a platform of 3 m and a grade of 0.1 at difficulty 1, and bumps."""
    line = 1.0 - np.abs(np.linspace(-1.0, 1.0, _CELLS + 1))
    shape = np.outer(line, line)
    platform = (1.0 - 1.5 / (0.5 * TILE)) ** 2
    height = 0.1 * difficulty * 0.5 * TILE * np.minimum(shape, platform)
    return rng.choice([-1.0, 1.0]) * height + _noise(rng, 0.005 + 0.015 * difficulty)


def _discrete(rng: np.random.Generator, difficulty: float) -> Tile:
    """20 rectangles of 1 to 1.8 m, up to 10 mm high or deep at difficulty 1; the middle is flat."""
    tile = _flat(rng, difficulty)
    for height in rng.choice([-1.0, -0.5, 0.5, 1.0], 20) * 0.01 * difficulty:
        depth, width = rng.integers(round(1.0 / CELL), round(1.8 / CELL) + 1, 2)
        y, x = rng.integers(0, _CELLS + 1 - depth), rng.integers(0, _CELLS + 1 - width)
        tile[y : y + depth + 1, x : x + width + 1] = height
    middle = slice(round(2.5 / CELL), round(5.5 / CELL) + 1)
    tile[middle, middle] = 0.0
    return tile


def _noise(rng: np.random.Generator, amplitude: float) -> Tile:
    """Uniform noise within ``amplitude`` [m] every second cell, straight in between."""
    coarse = rng.uniform(-amplitude, amplitude, (_CELLS // 2 + 1, _CELLS // 2 + 1))
    knots, places = np.arange(0, _CELLS + 1, 2), np.arange(_CELLS + 1)
    rows = np.array([np.interp(places, knots, row) for row in coarse])
    return np.array([np.interp(places, knots, column) for column in rows.T]).T


_TILES: dict[str, Callable[[np.random.Generator, float], Tile]] = {
    "flat": _flat,
    "rough": _rough,
    "slopes": _slopes,
    "discrete": _discrete,
}
KINDS = (*_TILES, "mixed")
"""Kinds of ground; ``mixed`` is the published training's mixture of the others."""
