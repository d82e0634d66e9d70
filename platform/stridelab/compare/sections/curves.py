"""Learning curves against environment steps and training time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.charts import Series, curves
from stridelab.compare.marks import sample
from stridelab.compare.markup import count, figure, folded, hint
from stridelab.compare.scales import count_unit, time_unit

_CURVES_SHOWN = 8


def learning_curves(comparison: Comparison) -> str:
    """Return the curves against steps and time, with a legend that switches them."""
    rows = [row for row in comparison.rows if row.by_steps is not None]
    if not rows:
        return ""
    baseline = comparison.baseline
    shown = [row for row in rows if _is_shown(row, baseline)]
    hidden = [row for row in rows if not _is_shown(row, baseline)]
    legend = _legend(shown, baseline)
    if hidden:
        legend += folded(f"{len(hidden)} more to switch on", _legend(hidden, baseline))
    return (
        hint(
            "Line: IQM over runs. Band: 95 % bootstrap interval at each point. The numbers are "
            "the ranks; press one to hide or show it."
        )
        + legend
        + f'<div class="pair">{_curve_figure(comparison, rows, by_time=False)}'
        + f"{_curve_figure(comparison, rows, by_time=True)}</div>"
    )


def _is_shown(row: Row, baseline: Row | None) -> bool:
    return row.rank <= _CURVES_SHOWN or row is baseline


def _legend(rows: Sequence[Row], baseline: Row | None) -> str:
    entries = "".join(_legend_entry(row, baseline) for row in rows)
    return f'<ul class="legend" aria-label="Configurations">{entries}</ul>'


def _legend_entry(row: Row, baseline: Row | None) -> str:
    pressed = "true" if _is_shown(row, baseline) else "false"
    return (
        f'<li><button type="button" data-toggle="{row.rank}" aria-pressed="{pressed}">'
        f"{sample(row.rank)}<span>{row.rank} {escape(row.group.label)}</span></button></li>"
    )


def _curve_figure(comparison: Comparison, rows: Sequence[Row], *, by_time: bool) -> str:
    series = [
        Series(
            rank=row.rank,
            label=row.group.label,
            band=curve,
            shown=_is_shown(row, comparison.baseline),
        )
        for row in rows
        if (curve := row.by_time if by_time else row.by_steps) is not None
    ]
    bands = [curve for row in rows for curve in (row.by_steps, row.by_time) if curve is not None]
    low, high = min(b.low.min() for b in bands), max(b.high.max() for b in bands)
    longest = max(float(item.band.x[-1]) for item in series)
    name, unit = time_unit(longest) if by_time else count_unit(longest)
    what, things = ("training time", "") if by_time else ("environment steps", " steps")
    chart = curves(
        series,
        values=(float(low), float(high)),
        about=f"{comparison.curve_metric} against {what} for {count(len(series), 'configuration')}"
        ", with intervals; final values stand in the table of scores.",
        ylabel=comparison.curve_metric,
        xlabel=f"{what} [{name}]" if name else what,
        unit=unit,
        each=f"{name}{things}".strip(),
    )
    return figure(chart, "Against training time" if by_time else "Against environment steps")
