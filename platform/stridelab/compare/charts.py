"""Charts as inline SVG: learning curves, intervals, bars.

Every chart is drawn for the width of a phone; a wide page sets two side by side. Colours are
variables of the page's style sheet, so that one drawing serves light and dark. A configuration is
told from others by its number, its marker and its dashes as well as by its colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from stridelab.compare.analysis import Band
from stridelab.compare.marks import colour, dashes, marker, points
from stridelab.compare.scales import Scale, fit, interval_text, number, ticks
from stridelab.tracking.names import shorten

_WIDTH = 380.0
_MARKERS = 7
"""Markers on a curve."""
_LINE_OF_TEXT = 62
"""Characters that fit into the width."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One learning curve."""

    rank: int
    """Number of the configuration, from 1; gives colour, marker and dashes."""
    label: str
    band: Band
    shown: bool = True
    """Whether it is drawn before somebody asks for it."""


@dataclass(frozen=True, kw_only=True)
class IntervalRow:
    """One configuration among the intervals."""

    rank: int
    label: str
    point: float
    low: float
    high: float
    n: int
    """Number of runs."""
    values: tuple[float, ...] = ()
    """The single runs, where they have such a value."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a group."""

    value: float
    text: str
    """Written at the end of its line."""
    rank: int = 1
    """Gives the colour."""
    key: str = ""
    """Written before the bar."""


@dataclass(frozen=True, kw_only=True)
class BarGroup:
    """Bars under one heading."""

    label: str
    bars: tuple[Bar, ...]


def curves(
    series: Sequence[Series],
    *,
    values: tuple[float, float],
    about: str,
    ylabel: str,
    xlabel: str,
    unit: float,
    each: str,
) -> str:
    """Draw learning curves with their bands.

    Args:
        series: What to draw, the most important first; not empty.
        values: Lowest and highest value, so that charts side by side share their scale.
        about: What the chart shows, for those who cannot see it.
        ylabel: Quantity of the values.
        xlabel: Quantity and unit of x.
        unit: That unit in the unit of the bands.
        each: The unit in texts of single points, for example ``M steps``.
    """
    left, right, top, bottom = 46.0, _WIDTH - 24.0, 26.0, 216.0
    x = fit([0.0, *(float(item.band.x[-1]) / unit for item in series)], left, right)
    y = fit(values, bottom, top)
    parts = [
        *_grid_x(x, top, bottom),
        *_grid_y(y, left, right),
        _text(4.0, 12.0, ylabel, "axis"),
        _text(0.5 * (left + right), bottom + 32.0, xlabel, "axis middle"),
    ]
    shown = [item for item in series if item.shown]
    heights = _spread([y(float(item.band.middle[-1])) for item in shown], 11.0, top, bottom)
    numbers = {item.rank: height for item, height in zip(shown, heights, strict=True)}
    for item in reversed(series):  # the most important lies on top
        height = numbers.get(item.rank, y(float(item.band.middle[-1])))
        parts.append(_curve(item, x, y, unit, each, height))
    return _svg(252.0, about, parts)


def intervals(
    rows: Sequence[IntervalRow],
    *,
    about: str,
    xlabel: str,
    reference: float | None = None,
    whole: tuple[float, ...] = (),
    digits: int = 4,
) -> str:
    """Draw a line a configuration: score, interval, and single runs below.

    Args:
        rows: What to draw, from top to bottom; not empty.
        about: What the chart shows, for those who cannot see it.
        xlabel: Quantity and unit of the score.
        reference: Value drawn as a line through all rows.
        whole: Values that the scale holds in any case.
        digits: Significant digits of the numbers.
    """
    pitch, top = 37.0, 4.0
    bottom = top + pitch * len(rows) + 2.0
    drawn = [v for row in rows for v in (row.low, row.point, row.high, *row.values)]
    x = fit([*drawn, *whole], 12.0, _WIDTH - 12.0)
    parts = [
        *_grid_x(x, top, bottom),
        _text(0.5 * _WIDTH, bottom + 32.0, xlabel, "axis middle"),
    ]
    if reference is not None:
        parts.append(_line(x(reference), top, x(reference), bottom, "reference"))
    parts += [_interval(row, x, top + pitch * index, digits) for index, row in enumerate(rows)]
    return _svg(bottom + 38.0, about, parts)


def bars(groups: Sequence[BarGroup], *, about: str, xlabel: str) -> str:
    """Draw groups of lying bars from zero.

    Args:
        groups: What to draw, from top to bottom; not empty.
        about: What the chart shows, for those who cannot see it.
        xlabel: Quantity and unit of the values.
    """
    keyed = any(bar.key for group in groups for bar in group.bars)
    left = 26.0 if keyed else 6.0
    x = fit([0.0, *(bar.value for group in groups for bar in group.bars)], left, _WIDTH - 66.0)
    parts: list[str] = []
    y = 2.0
    for group in groups:
        parts.append(_text(4.0, y + 11.0, shorten(group.label, _LINE_OF_TEXT), "label"))
        y += 16.0
        for bar in group.bars:
            parts.append(_bar(bar, x, y))
            y += 13.0
        y += 8.0
    parts.append(_text(0.5 * (x.start + x.end), y + 32.0, xlabel, "axis middle"))
    zero = _line(x(0.0), 2.0, x(0.0), y, "zero")
    return _svg(y + 38.0, about, [*_grid_x(x, 2.0, y), zero, *parts])


def _curve(item: Series, x: Scale, y: Scale, unit: float, each: str, height: float) -> str:
    """Draw one curve: band, line, markers with texts, and its number behind the end."""
    band = item.band
    xs = [x(float(value) / unit) for value in band.x]
    middle, low, high = (
        [y(float(value)) for value in line] for line in (band.middle, band.low, band.high)
    )
    around = [*zip(xs, high, strict=True), *reversed(list(zip(xs, low, strict=True)))]
    off = "" if item.shown else " off"
    parts = [f'<g class="series {colour(item.rank)}{off}" data-series="{item.rank}">']
    if band.n > 1 and len(xs) > 1:
        parts.append(f'<path class="band" d="M{points(around)}Z"/>')
    line = points(zip(xs, middle, strict=True))
    parts.append(f'<path class="line" {dashes(item.rank)}d="M{line}"/>')
    for index in _marked(len(xs), item.rank):
        place = f"at {number(float(band.x[index]) / unit, 3)} {each}, n = {band.n}"
        value = interval_text(
            float(band.middle[index]), float(band.low[index]), float(band.high[index])
        )
        title = f"{item.rank} {item.label}: {value} {place}"
        parts.append(
            f"<g><title>{escape(title)}</title>"
            f'<circle class="hit" cx="{xs[index]:.1f}" cy="{middle[index]:.1f}" r="9"/>'
            f"{marker(item.rank, xs[index], middle[index])}</g>"
        )
    # Ends near the edge of the plot have their numbers in one column there.
    beside = x.end if xs[-1] > x.end - 40.0 else xs[-1]
    parts += [_text(beside + 6.0, height + 4.0, str(item.rank), "end"), "</g>"]
    return "".join(parts)


def _marked(count: int, rank: int) -> list[int]:
    """Return the points that have markers: the last, and others apart from its neighbours'."""
    pace = max(1, count // _MARKERS)
    return sorted({count - 1, *range(3 * rank % pace, count - pace // 2, pace)})


def _interval(row: IntervalRow, x: Scale, top: float, digits: int) -> str:
    value = interval_text(row.point, row.low, row.high, digits)
    label = shorten(row.label, _LINE_OF_TEXT - len(value) - 4)
    title = f"{row.rank} {row.label}: {value}, n = {row.n}"
    middle = top + 22.0
    dots = "".join(
        f'<circle class="run" cx="{x(score):.1f}" cy="{middle + 8.0:.1f}" r="2.2"/>'
        for score in row.values
    )
    return "".join(
        [
            f'<g class="{colour(row.rank)}"><title>{escape(title)}</title>',
            _text(4.0, top + 12.0, f"{row.rank}  {label}", "label"),
            _text(_WIDTH - 4.0, top + 12.0, value, "label last"),
            dots,
            _line(x(row.low), middle, x(row.high), middle, "interval"),
            marker(row.rank, x(row.point), middle, 4.4),
            "</g>",
        ]
    )


def _bar(bar: Bar, x: Scale, top: float) -> str:
    left, right = sorted((x(0.0), x(bar.value)))
    return "".join(
        [
            _text(4.0, top + 9.5, bar.key, "label") if bar.key else "",
            f'<rect class="bar {colour(bar.rank)}" x="{left:.1f}" y="{top + 1.0:.1f}" '
            f'width="{right - left:.1f}" height="10"/>',
            _text(_WIDTH - 4.0, top + 9.5, bar.text, "label last"),
        ]
    )


def _spread(heights: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Move texts apart to at least ``gap`` from each other, from ``top`` downwards.

    They may reach below ``bottom`` when there are too many for the height.
    """
    order = np.argsort(heights, kind="stable")
    # Less its place in the order, each height may only grow: pushed down, pushed up, mean.
    places = gap * np.arange(len(order))
    free = np.asarray(heights, np.float64)[order] - places
    pushed_down = np.maximum.accumulate(free)
    pushed_up = np.minimum.accumulate(free[::-1])[::-1]
    room = max(top, bottom - gap * (len(order) - 1))
    apart = np.empty(len(order))
    apart[order] = np.clip(0.5 * (pushed_down + pushed_up), top, room) + places
    return [float(height) for height in apart]


def _grid_x(x: Scale, top: float, bottom: float) -> list[str]:
    lines = [_line(x(tick), top, x(tick), bottom, "grid") for tick in ticks(x)]
    texts = [_text(x(tick), bottom + 15.0, number(tick), "tick middle") for tick in ticks(x)]
    return [*lines, *texts]


def _grid_y(y: Scale, left: float, right: float) -> list[str]:
    lines = [_line(left, y(tick), right, y(tick), "grid") for tick in ticks(y)]
    texts = [_text(left - 6.0, y(tick) + 4.0, number(tick), "tick last") for tick in ticks(y)]
    return [*lines, *texts]


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<path class="{style}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(height: float, about: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(about)}">{"".join(parts)}</svg>'
    )
