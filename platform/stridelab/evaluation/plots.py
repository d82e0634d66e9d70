"""Figures of training runs, written as PNG files without a display.

Colours are those of Okabe and Ito, which stay apart for every common colour vision. Nothing here
touches pyplot: the backend and figures of a notebook stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stridelab.evaluation.files import replacing
from stridelab.evaluation.statistics import Interval

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Environment steps ``(points,)`` and values ``(points,)`` of one run."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
_INK = "#222222"
_MUTED = "#6b7280"
_GRID = "#e5e7eb"
_DPI = 160
_SCORES = colormaps["cividis"]
_OFF = -0.08
"""Height at which parallel coordinates show what is switched off."""
_MAX_BANDS = 8
"""With more curves than this, bands only hide the lines."""
_POINTS = 400
"""Points of a mean curve; finer than the pixels of the figure."""

STYLE: Any = {  # matplotlib spells out every key in its type
    "font.size": 10.0,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "axes.titlepad": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "savefig.facecolor": "white",
}
"""Settings of every figure."""


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One variant of a sweep."""

    label: str
    """What makes the variant differ, for example ``learning_rate = 3e-4``."""
    interval: Interval
    """Its score over seeds."""
    values: tuple[float, ...] = ()
    """The score of each seed; drawn as small points beside the interval."""


def learning_curves(
    curves: Mapping[str, Sequence[Curve]], path: Path, *, title: str, ylabel: str
) -> None:
    """Draw the mean over seeds of each label with a band of one standard deviation.

    Runs of one label are put on common steps by linear interpolation, over the range that all of
    them cover, so that the mean never changes because a run ended early.

    Args:
        curves: For each label its runs (seeds).
        path: PNG file to write.
        title: Title of the figure.
        ylabel: Quantity and unit of the values.

    Raises:
        ValueError: There is nothing to draw.
    """
    shown = {label: usable for label, runs in curves.items() if (usable := _usable(runs))}
    if not shown:
        raise ValueError(f"{title}: no run has a finite value to draw")
    with rc_context(STYLE):
        tall = max(4.2, 1.4 + 0.2 * len(shown))
        figure, axes = _figure(7.2, tall)
        banded = len(shown) <= _MAX_BANDS
        ends: list[tuple[str, float, str]] = []
        for index, (label, runs) in enumerate(shown.items()):
            colour, dash = _line_style(index)
            steps, values = _on_common_steps(runs)
            mean, spread = values.mean(axis=0), values.std(axis=0)
            axes.plot(steps / 1e6, mean, dash, color=colour, linewidth=1.8, label=label)
            if banded and len(runs) > 1:
                axes.fill_between(
                    steps / 1e6, mean - spread, mean + spread, color=colour, alpha=0.18, lw=0
                )
            ends.append((_with_count(label, len(runs)), float(mean[-1]), colour))
        axes.set_title(title)
        axes.set_xlabel("environment steps [M]")
        axes.set_ylabel(ylabel)
        axes.margins(x=0.0)
        axes.set_xlim(left=0.0)
        _label_ends(axes, ends, gap=0.2 / (tall - 1.2))
        if any(len(runs) > 1 for runs in shown.values()):
            band = "; band: ± 1 standard deviation" if banded else ""
            _footnote(figure, f"line: mean over seeds{band}")
        save_figure(figure, path)


def reward_bars(terms: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw the mean reward per second of every term, grouped by term, one bar a label.

    Args:
        terms: For each label (policy) the reward terms; a term that a label lacks has no bar.
        path: PNG file to write.

    Raises:
        ValueError: There is nothing to draw.
    """
    names = list(dict.fromkeys(name for values in terms.values() for name in values))
    if not names:
        raise ValueError("there are no reward terms to draw")
    # The largest term on top: the eye starts there.
    names.sort(key=lambda name: max(abs(v.get(name, 0.0)) for v in terms.values()))
    height = 0.8 / len(terms)
    with rc_context(STYLE):
        rows = len(names) * max(1.0, 0.45 * len(terms))
        figure, axes = _figure(7.2, 1.5 + 0.3 * rows)
        centres = np.arange(len(names))
        for index, (label, values) in enumerate(terms.items()):
            offset = (0.5 * (len(terms) - 1) - index) * height
            numbers = np.array([values.get(name, np.nan) for name in names])
            bars = axes.barh(
                centres + offset,
                numbers,
                height=0.9 * height,
                color=COLOURS[index % len(COLOURS)],
                label=label,
            )
            texts = ["" if np.isnan(number) else _signed(number) for number in numbers]
            axes.bar_label(bars, texts, padding=3, fontsize=8, color=_INK)
        axes.axvline(0.0, color=_INK, linewidth=0.8)
        axes.set_yticks(centres, names)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.16, y=0.02)
        axes.set_title("Reward by term")
        axes.set_xlabel("weighted reward per second [1/s]")
        if len(terms) > 1:
            axes.legend(loc="lower right")
        save_figure(figure, path)


def sweep_summary(
    rows: Sequence[SweepRow], path: Path, *, title: str = "Sweep", xlabel: str = "IQM over seeds"
) -> None:
    """Draw one line a variant: the score as a point, its interval and the raw seeds.

    Variants stand in the order of their score, the best on top.

    Args:
        rows: The variants.
        path: PNG file to write.
        title: Title of the figure.
        xlabel: Quantity and unit of the score.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError(f"{title}: there are no rows to draw")
    ranked = sorted(rows, key=lambda row: row.interval.point)
    with rc_context(STYLE):
        figure, axes = _figure(7.2, 1.5 + 0.34 * len(ranked))
        for height, row in enumerate(ranked):
            best = height == len(ranked) - 1
            colour = COLOURS[0] if best else _MUTED
            axes.plot(
                row.values,
                np.full(len(row.values), height - 0.24),
                "o",
                color=colour,
                alpha=0.5,
                markersize=3.5,
                markeredgewidth=0.0,
            )
            axes.hlines(height, row.interval.low, row.interval.high, color=colour, linewidth=2.4)
            axes.plot(row.interval.point, height, "o", color=colour, ms=8, mec="white", mew=1.2)
            for offset, text in ((52, f"{row.interval.point:.4g}"), (90, str(row.interval.n))):
                _beside(axes, height, text, offset, _INK if best else _MUTED)
        _beside(axes, len(ranked) - 0.4, "score", 52, _MUTED)
        _beside(axes, len(ranked) - 0.4, "n", 90, _MUTED)
        axes.set_yticks(range(len(ranked)), [row.label for row in ranked])
        axes.set_ylim(-0.6, len(ranked) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.06)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        _footnote(figure, "large point: score; bar: 95 % bootstrap interval; small points: seeds")
        save_figure(figure, path)


@dataclass(frozen=True, kw_only=True)
class ParallelAxis:
    """One upright axis of a parallel-coordinates plot."""

    label: str
    values: tuple[float | str | None, ...]
    """One value a line: a number, a name, or None for what is switched off."""
    log: bool = False
    """Whether the axis is logarithmic; all numbers are above 0 then."""


def parallel_coordinates(
    axes: Sequence[ParallelAxis], path: Path, *, title: str, mode: str = "max"
) -> None:
    """Draw one line a variant across upright axes, coloured by the last axis, the score.

    Args:
        axes: The axes from left to right; of the last one all values are numbers.
        path: PNG file to write.
        title: Title of the figure.
        mode: ``max`` where higher scores are better, else ``min``.

    Raises:
        ValueError: There are fewer than two axes, or no lines.
    """
    if len(axes) < 2 or not axes[-1].values:
        raise ValueError(f"{title}: nothing to draw: at least two axes and one line are needed")
    heights = np.array([_heights(axis) for axis in axes])  # (axes, lines)
    with rc_context(STYLE):
        figure, plot = _figure(max(7.2, 1.35 * len(axes)), 4.4)
        places = np.arange(len(axes))
        goodness = heights[-1] if mode == "max" else 1.0 - heights[-1]
        for line in np.argsort(goodness):  # the best on top
            colour = _SCORES(goodness[line])
            plot.plot(places, heights[:, line], color=colour, linewidth=1.6, alpha=0.85)
        for place, axis in zip(places, axes, strict=True):
            plot.axvline(float(place), color=_MUTED, linewidth=1.0, zorder=0)
            for height, text in _marks(axis):
                plot.annotate(
                    text,
                    (place, height),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=_INK,
                    va="center",
                    bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
                )
        plot.set_xticks(places, [axis.label for axis in axes], rotation=20, ha="right")
        plot.set_yticks([])
        plot.grid(visible=False)
        plot.set_ylim(-0.12, 1.06)
        plot.set_xlim(-0.1, len(axes) - 0.6)
        for side in ("left", "bottom"):
            plot.spines[side].set_visible(False)
        plot.set_title(title)
        _footnote(figure, "one line: one configuration; the brighter, the better the score")
        save_figure(figure, path)


def _heights(axis: ParallelAxis) -> list[float]:
    """Return where the values of an axis stand, from 0 to 1; what is off stands below."""
    names = sorted({value for value in axis.values if isinstance(value, str)})
    numbers = [float(v) for v in axis.values if isinstance(v, int | float)]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)

    def height(value: float | str | None) -> float:
        if value is None:
            return _OFF
        if isinstance(value, str):
            return names.index(value) / max(1, len(names) - 1)
        if high == low:
            return 0.5
        if axis.log:
            return float(np.log(value / low) / np.log(high / low))
        return (value - low) / (high - low)

    return [height(value) for value in axis.values]


def _marks(axis: ParallelAxis) -> list[tuple[float, str]]:
    """Return heights and texts to write beside an axis: the ends of a range, or all names."""
    shown: dict[float, str] = {}
    ends = (0.0, 1.0) if len(set(axis.values) - {None}) > 1 else (0.5,)
    for value, height in zip(axis.values, _heights(axis), strict=True):
        if value is None:
            shown[height] = "off"
        elif isinstance(value, str):
            shown[height] = value
        elif height in ends:
            shown.setdefault(height, f"{value:.3g}")
    return sorted(shown.items())


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure [inch] with one plot, drawn by Agg whatever the user's backend."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as PNG in one step."""
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", dpi=_DPI)


def _line_style(index: int) -> tuple[str, str]:
    """Return colour and dash of line ``index``; dashes change once all colours are used."""
    return COLOURS[index % len(COLOURS)], _DASHES[(index // len(COLOURS)) % len(_DASHES)]


def _signed(number: float) -> str:
    """Format with three digits and a sign, with a true minus as on the axes."""
    return f"{number:+.3g}".replace("-", "\u2212")


def _with_count(label: str, runs: int) -> str:
    return f"{label} (n = {runs})" if runs > 1 else label


def _usable(runs: Sequence[Curve]) -> list[Curve]:
    """Return the runs without points that are not finite, and without runs that are empty."""
    result = []
    for steps, values in runs:
        steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        kept = np.isfinite(steps) & np.isfinite(values)
        if kept.any():
            result.append((steps[kept], values[kept]))
    return result


def _on_common_steps(runs: Sequence[Curve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolate runs onto steps ``(points,)`` that all cover; values are ``(runs, points)``."""
    first = max(float(steps[0]) for steps, _ in runs)
    last = min(float(steps[-1]) for steps, _ in runs)
    common = np.linspace(first, max(first, last), _POINTS)
    return common, np.stack([np.interp(common, steps, values) for steps, values in runs])


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], gap: float) -> None:
    """Write each label beside the end of its line, moved apart where they would overlap.

    Args:
        axes: The plot, with its lines drawn.
        ends: Label, value at the end of the line and colour.
        gap: Smallest distance of two labels, as a fraction of the plot's height.
    """
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    ordered = sorted(ends, key=lambda end: end[1])
    # Less its rank, each height may only grow: pushed up from below, pushed down from above, mean.
    ranks = gap * (high - low) * np.arange(len(ordered))
    free = np.array([end[1] for end in ordered]) - ranks
    pushed_up = np.maximum.accumulate(free)
    pushed_down = np.minimum.accumulate(free[::-1])[::-1]
    room = max(low, high - ranks[-1])
    heights = np.clip(0.5 * (pushed_up + pushed_down), low, room) + ranks
    for (label, _, colour), height in zip(ordered, heights, strict=True):
        _beside(axes, height, label, 6, colour, align="left")


def _beside(
    axes: Axes, height: float, text: str, offset: float, colour: str, align: str = "right"
) -> None:
    """Write ``text`` to the right of the plot, ``offset`` [pt] from its edge."""
    axes.annotate(
        text,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        xytext=(offset, 0.0),
        textcoords="offset points",
        horizontalalignment=align,
        verticalalignment="center",
        color=colour,
        fontsize=9,
        annotation_clip=False,
    )


def _footnote(figure: Figure, text: str) -> None:
    """Write a small remark below the plot."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=7.5, color=_MUTED)
