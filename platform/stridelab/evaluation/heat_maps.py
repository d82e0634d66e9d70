"""Heat maps of robustness and of command errors, written as PNG; the numbers stand in the cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stridelab.evaluation.command_errors import (
    FALLS,
    CommandErrors,
    CommandMap,
    by_columns,
    is_error,
)
from stridelab.evaluation.plots import STYLE, save_figure
from stridelab.evaluation.robustness import UNITS, Grid

_PANEL = 2.9
"""Width of a panel [inch]."""
_COLUMNS = 3
"""Panels side by side in a picture of command errors."""
_LABELS = {FALLS: "falls per minute", "episode/survival_rate": "survival rate"}


@dataclass(frozen=True, kw_only=True)
class _Panel:
    values: NDArray[np.float64]
    """``(rows, columns)``, the first row at the bottom; NaN where nothing is known."""
    title: str
    xlabel: str
    ylabel: str
    xticks: tuple[str, ...]
    yticks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Band:
    """Panels that share a scale of colours, ``low`` to ``high``; brighter is better."""

    label: str
    low: float
    high: float
    more_is_better: bool
    panels: tuple[_Panel, ...]


def draw_robustness(grid: Grid, path: Path) -> None:
    """Draw survival, success and every error of a grid: one panel for each payload."""
    shown = ["episode/survival_rate"]
    shown += [name for name in grid.cells[0]["metrics"] if name == "metric/success"]
    shown += [
        name for name in grid.cells[0]["metrics"] if name.startswith("metric/") and is_error(name)
    ]
    bands = []
    for name in shown:
        values = grid.values(name).numpy().astype(np.float64)
        share = name in ("episode/survival_rate", "metric/success")
        high = 1.0 if share else _highest(values)
        panels = [
            _Panel(
                values=values[:, :, place].T,
                title=f"payload {load:+g} {UNITS['payload']}",
                xlabel=f"push up to [{UNITS['push']}]",
                ylabel="friction",
                xticks=_ticks(grid.axes["push"]),
                yticks=_ticks(grid.axes["friction"]),
            )
            for place, load in enumerate(grid.axes["payload"])
        ]
        bands.append(
            _Band(
                label=_label(name), low=0.0, high=high, more_is_better=share, panels=tuple(panels)
            )
        )
    title = f"{grid.task}: robustness"
    note = f"{grid.episodes} episodes a cell, seed {grid.seed}; the brighter, the better"
    _draw(bands, path, title, note, columns=len(grid.axes["payload"]))


def draw_command_errors(errors: CommandErrors, path: Path) -> None:
    """Draw every map of a policy: one line of panels for each metric."""
    bands = []
    groups = by_columns(errors.maps)
    for name in dict.fromkeys(found.metric for found in errors.maps):
        maps = [found for group in groups.values() for found in group if found.metric == name]
        highest = max(_highest(np.array(found.mean)) for found in maps)
        panels = tuple(_command_panel(found) for found in maps)
        bands.append(
            _Band(label=_label(name), low=0.0, high=highest, more_is_better=False, panels=panels)
        )
    note = f"{errors.episodes} environments, seed {errors.seed}; bins of what was commanded; "
    _draw(
        bands,
        path,
        f"{errors.task}: command errors",
        note + "the brighter, the better",
        columns=min(_COLUMNS, max(len(band.panels) for band in bands)),
    )


def _command_panel(found: CommandMap) -> _Panel:
    mean = np.array(found.mean)
    centres = [_ticks([0.5 * (a + b) for a, b in pairwise(e)]) for e in found.edges]
    flat = mean.ndim == 1
    return _Panel(
        values=mean[None] if flat else mean.T,
        title=found.command,
        xlabel=found.columns[0],
        ylabel="" if flat else found.columns[1],
        xticks=centres[0],
        yticks=("",) if flat else centres[1],
    )


def _draw(bands: Sequence[_Band], path: Path, title: str, note: str, *, columns: int) -> None:
    lines = [math.ceil(len(band.panels) / columns) for band in bands]
    with rc_context({**STYLE, "axes.grid": False, "axes.titlesize": 9.0, "axes.titlepad": 5.0}):
        size = (max(5.0, 1.2 + _PANEL * columns), 1.0 + 2.3 * sum(lines))
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(sum(lines), columns)
        line = 0
        for band, used in zip(bands, lines, strict=True):
            scale = Normalize(band.low, band.high)
            colours = colormaps["cividis" if band.more_is_better else "cividis_r"]
            drawn = []
            for place, panel in enumerate(band.panels):
                axes = figure.add_subplot(grid[line + place // columns, place % columns])
                _draw_panel(axes, panel, scale, colours)
                drawn.append(axes)
            figure.colorbar(ScalarMappable(scale, colours), ax=drawn, label=band.label, pad=0.02)
            line += used
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.supxlabel(note, x=0.99, ha="right", fontsize=7.5, color="#6b7280")
        save_figure(figure, path)


def _draw_panel(axes: Axes, panel: _Panel, scale: Normalize, colours: Colormap) -> None:
    axes.set_facecolor("#e5e7eb")
    axes.imshow(panel.values, origin="lower", aspect="auto", cmap=colours, norm=scale)
    for (y, x), value in np.ndenumerate(panel.values):
        if np.isfinite(value):
            red, green, blue, _ = colours(float(scale(value)))
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(x, y, _number(value), ha="center", va="center", fontsize=7, color=ink)
    axes.set_xticks(range(len(panel.xticks)), panel.xticks, fontsize=8)
    axes.set_yticks(range(len(panel.yticks)), panel.yticks, fontsize=8)
    axes.tick_params(length=0)
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)


def _number(value: float) -> str:
    """Format with two digits and no leading zero, so that cells may be narrow."""
    text = f"{value:.2f}" if value < 10 else f"{value:.0f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _ticks(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.2g}".replace("-", "\u2212") for value in values)


def _label(metric: str) -> str:
    return _LABELS.get(metric, metric.removeprefix("metric/").replace("_", " "))


def _highest(values: NDArray[np.float64]) -> float:
    """Return the greatest known value, for the scale of colours."""
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size and known.max() > 0.0 else 1.0
