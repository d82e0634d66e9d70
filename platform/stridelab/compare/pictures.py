"""The comparison as PNG files: what the page shows, for papers and for MLflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stridelab.compare.analysis import Band, Comparison, Row
from stridelab.compare.importance import StudyImportance
from stridelab.compare.scales import count_unit, time_unit
from stridelab.evaluation.files import replacing
from stridelab.evaluation.plots import COLOURS, reward_bars
from stridelab.tracking.names import shorten

_CURVES_SHOWN = 8
_SCORES_SHOWN = 30
_BARS_SHOWN = 4
_MARKERS = "osDv^PX*"
_DASHES = ("-", "--", ":", "-.", (0, (8, 2)))
_LABEL = 48
"""Characters of a label that leave room for the plot."""


def write_pictures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write scores, learning curves, reward terms and importance into ``folder``.

    Returns:
        The files; what nothing was logged for is left out.
    """
    shown = _head(comparison, _CURVES_SHOWN)
    files = [folder / "scores.png"]
    _scores(comparison, files[0])
    by_steps = [(row, row.by_steps) for row in shown if row.by_steps is not None]
    by_time = [(row, row.by_time) for row in shown if row.by_time is not None]
    if by_steps and by_time:
        longest = max(float(band.x[-1]) for _, band in by_steps)
        files.append(folder / "curves_steps.png")
        _curves(comparison, by_steps, "environment steps", count_unit(longest), files[-1])
        longest = max(float(band.x[-1]) for _, band in by_time)
        files.append(folder / "curves_time.png")
        _curves(comparison, by_time, "training time", time_unit(longest), files[-1])
    if names := comparison.metrics("reward/"):
        files.append(folder / "reward_terms.png")
        terms = {
            _label(row): {n.removeprefix("reward/"): row.means[n] for n in names if n in row.means}
            for row in _head(comparison, _BARS_SHOWN)
        }
        reward_bars(terms, files[-1])
    for study in comparison.importances:
        if study.parameters:
            name = re.sub(r"[^\w.-]+", "_", study.study)
            files.append(folder / f"importance_{name}.png")
            _importance(study, files[-1])
    return files


def _head(comparison: Comparison, count: int) -> list[Row]:
    """Return the best configurations, and the baseline behind them."""
    return [row for row in comparison.rows if row.rank <= count or row is comparison.baseline]


def _label(row: Row) -> str:
    return f"{row.rank}  {shorten(row.group.label, _LABEL)}"


def _scores(comparison: Comparison, path: Path) -> None:
    rows = _head(comparison, _SCORES_SHOWN)
    figure, axes = _figure(1.4 + 0.34 * len(rows))
    for place, row in enumerate(rows):
        colour = _colour(row)
        axes.hlines(place, row.score.low, row.score.high, color=colour, linewidth=2.4)
        scores = row.group.scores
        axes.plot(scores, [place + 0.24] * len(scores), "o", color=colour, ms=3.5, mfc="none")
        axes.plot(row.score.point, place, _marker(row), color=colour, ms=8, mec="white")
    if comparison.baseline:
        axes.axvline(comparison.baseline.score.point, color="#6b7280", ls="--", lw=1.0, zorder=0)
    axes.set_yticks(range(len(rows)), [f"{_label(row)}  (n = {row.score.n})" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the best on top
    axes.set_xlabel(comparison.metric)
    figure.supxlabel(
        "marker: IQM over runs; bar: 95 % bootstrap interval; circles: runs", fontsize=7.5
    )
    _save(figure, axes, comparison.title, path)


def _curves(
    comparison: Comparison,
    curves: Sequence[tuple[Row, Band]],
    what: str,
    unit: tuple[str, float],
    path: Path,
) -> None:
    name, size = unit
    figure, axes = _figure(4.4 + 0.2 * len(curves))
    for row, band in reversed(curves):  # the best lie on top
        x, colour = band.x / size, _colour(row)
        axes.fill_between(x, band.low, band.high, color=colour, alpha=0.15, lw=0)
        axes.plot(
            x,
            band.middle,
            color=colour,
            linestyle=_DASHES[(row.rank - 1) % len(_DASHES)],
            marker=_marker(row),
            markevery=max(1, len(x) // 7),
            ms=5,
            label=f"{_label(row)}  (n = {band.n})",
        )
    axes.set_xlabel(f"{what} [{name}]" if name else what)
    axes.set_ylabel(comparison.curve_metric)
    axes.set_xlim(left=0.0)
    figure.legend(loc="outside lower left", frameon=False, fontsize=8, reverse=True)
    _save(figure, axes, comparison.title, path)


def _importance(study: StudyImportance, path: Path) -> None:
    figure, axes = _figure(1.6 + 0.34 * len(study.parameters))
    shares = [max(item.importance, 0.0) for item in study.parameters]
    names = [shorten(item.name, _LABEL) for item in study.parameters]
    drawn = axes.barh(range(len(shares)), shares, height=0.6, color=COLOURS[0])
    axes.bar_label(drawn, [f"{share:.2f}" for share in shares], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("share of the variance of the scores")
    figure.supxlabel(
        f"{study.configurations} configurations; R² on unseen ones: {study.fit:.2f}", fontsize=7.5
    )
    _save(figure, axes, f"Importance in {study.study}", path)


def _colour(row: Row) -> str:
    return COLOURS[(row.rank - 1) % len(COLOURS)]


def _marker(row: Row) -> str:
    return _MARKERS[(row.rank - 1) % len(_MARKERS)]


def _figure(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of this height [inch], drawn without a display."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure: Figure, axes: Axes, title: str, path: Path) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", dpi=160, facecolor="white")
