"""The comparison as tables of a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group as Stack
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.importance import StudyImportance
from stridelab.evaluation.statistics import Interval

_MEASURED = {
    "eval/success_rate": "success",
    "eval/survival_rate": "survival",
}
"""Shown beside the score where runs logged them."""


def report(comparison: Comparison) -> Stack:
    """Return ranking, importance of parameters, and notes, ready to print."""
    parts: list[Table | Text] = [ranking(comparison)]
    if comparison.threshold is not None:
        parts.append(steps_to_threshold(comparison))
    parts += [importance(study) for study in comparison.importances if study.parameters]
    parts += [
        Text(f"importance in {study.study}: {study.note}", style="dim")
        for study in comparison.importances
        if study.note
    ]
    parts += [Text(f"note: {note}", style="yellow") for note in comparison.notes]
    return Stack(*parts)


def ranking(comparison: Comparison) -> Table:
    """Return one row a configuration, the best first."""
    table = Table(
        title=f"{escape(comparison.title)}: best first",
        header_style="bold",
        box=box.SIMPLE_HEAD,  # of the boxes the one that leaves most room
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("#", justify="right")
    table.add_column("configuration", overflow="fold", min_width=12)
    table.add_column(f"{comparison.metric}\nIQM, 95 % interval", justify="right", min_width=9)
    table.add_column("n", justify="right")
    table.add_column(f"gap to\n{comparison.target:.4g}", justify="right")
    table.add_column("P(beats\nbest)", justify="right")
    if comparison.baseline:
        table.add_column("P(beats\nbaseline)", justify="right")
    shown = [name for name in _MEASURED if comparison.metrics(name) and name != comparison.metric]
    for name in shown:
        table.add_column(_MEASURED[name], justify="right")
    for row in comparison.rows:
        cells = [str(row.rank), escape(row.group.label), interval_text(row.score), str(row.score.n)]
        cells += [f"{row.gap.point:.3g}", _probability(row.over_best)]
        if comparison.baseline:
            cells.append(_probability(row.over_baseline))
        table.add_row(*cells, *(_mean(row, name) for name in shown))
    return table


def steps_to_threshold(comparison: Comparison) -> Table:
    """Return how much experience each configuration took to reach the threshold."""
    sign = "≥" if comparison.mode == "max" else "≤"
    table = Table(
        title=f"{escape(comparison.curve_metric)} {sign} {comparison.threshold:g} for the first "
        "time",
        header_style="bold",
    )
    table.add_column("configuration", overflow="fold", min_width=12)
    table.add_column("median env steps", justify="right")
    table.add_column("runs that reached it", justify="right")
    for row in comparison.rows:
        assert row.reached is not None
        middle = row.reached.median
        shown = "not reached" if middle is None else f"{middle:,.0f}"
        table.add_row(escape(row.group.label), shown, f"{row.reached.n} of {row.score.n}")
    return table


def importance(study: StudyImportance) -> Table:
    """Return the importance of each parameter of a study."""
    table = Table(
        title=f"importance in {escape(study.study)} "
        f"({study.configurations} configurations, R² {study.fit:.2f} on unseen ones)",
        header_style="bold",
    )
    table.add_column("parameter")
    table.add_column("share of variance", justify="right")
    table.add_column("better scores")
    for item in study.parameters:
        table.add_row(escape(item.name), f"{max(item.importance, 0.0):.2f}", escape(item.trend))
    return table


def interval_text(interval: Interval) -> str:
    """Return ``12.3 [11.2, 13.1]``, or the number alone for one run."""
    if interval.n == 1:
        return f"{interval.point:.4g}"
    return f"{interval.point:.4g} \\[{interval.low:.4g}, {interval.high:.4g}]"


def _probability(interval: Interval | None) -> str:
    return f"{interval.point:.2f}" if interval else "-"


def _mean(row: Row, name: str) -> str:
    return f"{row.means[name]:.3g}" if name in row.means else "-"
