"""Colour, dashes and marker of a configuration, the same in every chart.

No configuration is told by colour alone: markers and dashes repeat after other numbers of
configurations than colours do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

COLOURS = 8
"""Number of colours in the style sheet."""
_DASHES = ("", "7 3", "2 3", "8 3 2 3", "12 4")
_CROSS = ((0.5, 1.4), (0.5, 0.5), (1.4, 0.5))
"""Corners of one quarter of a plus sign."""
_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),  # a circle
    ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
    ((0.0, -1.4), (1.3, 0.9), (-1.3, 0.9)),
    ((0.0, -1.5), (1.5, 0.0), (0.0, 1.5), (-1.5, 0.0)),
    (
        *_CROSS,
        *((x, -y) for x, y in reversed(_CROSS)),
        *((-x, -y) for x, y in _CROSS),
        *((-x, y) for x, y in reversed(_CROSS)),
    ),
    ((0.0, 1.4), (1.3, -0.9), (-1.3, -0.9)),
    tuple(
        (radius * math.sin(math.pi * k / 5), radius * math.cos(math.pi * k / 5))
        for k, radius in enumerate((0.7, 1.7) * 5)
    ),
)
"""Corners around the middle, in radii."""


def colour(rank: int) -> str:
    """Return the style class that carries the colour of configuration ``rank``, from 1."""
    return f"c{(rank - 1) % COLOURS}"


def dashes(rank: int) -> str:
    """Return the attribute that dashes a line, with a space behind; none for a whole line."""
    pattern = _DASHES[(rank - 1) % len(_DASHES)]
    return f'stroke-dasharray="{pattern}" ' if pattern else ""


def marker(rank: int, x: float, y: float, r: float = 3.4) -> str:
    """Draw the marker of configuration ``rank`` around a point."""
    corners = _SHAPES[(rank - 1) % len(_SHAPES)]
    if not corners:
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    return f'<path class="mark" d="M{points((x + r * dx, y + r * dy) for dx, dy in corners)}Z"/>'


def sample(rank: int) -> str:
    """Return a piece of line with marker, for legends and tables."""
    return (
        f'<svg class="key {colour(rank)}" viewBox="0 0 34 12" width="34" height="12" '
        f'aria-hidden="true"><path class="line" {dashes(rank)}d="M1 6H33"/>'
        f"{marker(rank, 17, 6)}</svg>"
    )


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Return points as the middle of an SVG path."""
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in pairs)
