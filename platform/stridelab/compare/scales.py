"""Axes of drawn charts: where values lie, round ticks, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MINUS = "\u2212"
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A straight map from values to pixels."""

    low: float
    high: float
    start: float
    """Pixel of ``low``."""
    end: float
    """Pixel of ``high``."""

    def __call__(self, value: float) -> float:
        """Return the pixel of ``value``."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def fit(values: Iterable[float], start: float, end: float, *, count: int = 5) -> Scale:
    """Return a scale over ``values`` that begins and ends at round ticks.

    Args:
        values: What must lie inside; not empty, all finite.
        start: Pixel of the smallest value.
        end: Pixel of the largest value.
        count: About how many steps there shall be.
    """
    known = list(values)
    low, high = min(known), max(known)
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # a flat line lies in the middle
        margin = 0.5 * abs(high) or 1.0
        low, high = low - margin, high + margin
    step = _step(high - low, count)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, start, end)


def ticks(scale: Scale, *, count: int = 5) -> list[float]:
    """Return round values on the scale."""
    step = _step(scale.high - scale.low, count)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _step(width: float, count: int) -> float:
    """Return the smallest round step that divides ``width`` into at most about ``count``."""
    raw = width / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in _STEPS if step * power >= raw * (1.0 - 1e-9))


def number(value: float, digits: int = 4, *, padded: bool = False) -> str:
    """Return a number with so many significant digits and a true minus.

    Args:
        value: The number.
        digits: Significant digits.
        padded: Whether zeros at the end stay, as columns of measured values want it.
    """
    rounded = float(f"{value:.{digits}g}") + 0.0  # no minus zero
    power = math.floor(math.log10(abs(rounded))) if rounded else 0
    if not -4 <= power < 6:
        text = f"{rounded / 10.0**power:.{digits - 1}f}"
        return f"{_stripped(text)}e{power}".replace("-", _MINUS)
    text = f"{rounded:.{max(0, digits - 1 - power) if rounded else 0}f}"
    return (text if padded else _stripped(text)).replace("-", _MINUS)


def _stripped(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval_text(point: float, low: float, high: float, digits: int = 4) -> str:
    """Return ``12.3 [11.2, 13.1]``, or the number alone where the interval has no width."""
    if low == point == high:
        return number(point, digits, padded=True)
    around = ", ".join(number(end, digits, padded=True) for end in (low, high))
    return f"{number(point, digits, padded=True)} [{around}]"


def time_unit(seconds: float) -> tuple[str, float]:
    """Return the unit to show times of this length in, and its length [s]."""
    if seconds >= 2 * 3600:
        return "h", 3600.0
    return ("min", 60.0) if seconds >= 120 else ("s", 1.0)


def count_unit(count: float) -> tuple[str, float]:
    """Return the unit to show counts of this size in (``"M"``, ``"k"`` or none), and its size."""
    if count >= 2e6:
        return "M", 1e6
    return ("k", 1e3) if count >= 2e3 else ("", 1.0)
