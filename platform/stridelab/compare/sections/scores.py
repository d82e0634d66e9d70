"""The ranking: scores and the probability of improvement."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.charts import IntervalRow, intervals
from stridelab.compare.markup import Cell, Column, figure, hint, number_cell, table
from stridelab.compare.scales import interval_text, number
from stridelab.compare.sections.cells import CONFIGURATION, RANK, head
from stridelab.evaluation.statistics import Interval

_INTERVALS_SHOWN = 30


def scores(comparison: Comparison) -> str:
    """Return the ranking: charts of scores and of improvement, and a table."""
    baseline = comparison.baseline
    shown = [row for row in comparison.rows if row.rank <= _INTERVALS_SHOWN or row is baseline]
    chart = intervals(
        [_interval_row(row, row.score, tuple(row.group.scores)) for row in shown],
        about=f"Scores with 95 % intervals, best first. {_in_words(comparison)}",
        xlabel=comparison.metric,
        reference=baseline.score.point if baseline else None,
    )
    caption = "Score. Marker: IQM over runs; bar: 95 % bootstrap interval; small circles: runs"
    if baseline:
        caption += "; dashed line: the baseline"
    left_out = len(comparison.rows) - len(shown)
    return (
        f'<p class="lead">{escape(_in_words(comparison))}</p>'
        + f'<div class="pair">{figure(chart, caption)}{_improvement(comparison, shown)}</div>'
        + (hint(f"{left_out} more stand in the table only.") if left_out else "")
        + _score_table(comparison)
    )


def _improvement(comparison: Comparison, rows: Sequence[Row]) -> str:
    """Draw the probability of improvement over the baseline, or over the best without one."""
    other = "baseline" if comparison.baseline else "best"
    chances = [
        (row, chance)
        for row in rows
        if (chance := row.over_baseline if comparison.baseline else row.over_best) is not None
    ]
    if not chances:
        return ""
    chart = intervals(
        [_interval_row(row, chance) for row, chance in chances],
        about=f"Probability that a run beats one of the {other}; the table has the numbers.",
        xlabel="probability",
        reference=0.5,
        whole=(0.0, 1.0),
        digits=2,
    )
    caption = f"Probability that a run beats one of the {other}; dashed line: no difference"
    return figure(chart, caption)


def _interval_row(row: Row, interval: Interval, values: tuple[float, ...] = ()) -> IntervalRow:
    return IntervalRow(
        rank=row.rank,
        label=row.group.label,
        point=interval.point,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        values=values,
    )


def _in_words(comparison: Comparison) -> str:
    """Return the result in a sentence or two."""
    best, rest = comparison.rows[0], comparison.rows[1:]
    score = _text_of(best.score)
    if not rest:
        return f"{best.group.label} scores {score}."
    text = f"{best.group.label} is first with {score}."
    baseline = comparison.baseline
    if baseline and best.over_baseline:
        chance = _text_of(best.over_baseline, 2)
        other = f"the baseline ({number(baseline.score.point)})"
        return f"{text} A run of it beats one of {other} with probability {chance}."
    second = rest[0].over_best
    assert second is not None  # only the best has none
    chance = _text_of(second, 2)
    return f"{text} A run of the second best beats one of it with probability {chance}."


def _score_table(comparison: Comparison) -> str:
    better_first = "descending" if comparison.mode == "max" else "ascending"
    columns = [
        RANK,
        CONFIGURATION,
        Column(title="IQM", first=better_first),
        Column(title="95 % interval", first=better_first),
        Column(title="n"),
        Column(title="optimality gap", first="ascending"),
        Column(title="P(beats best)"),
    ]
    if comparison.baseline:
        columns.append(Column(title="P(beats baseline)"))
    rows = []
    for row in comparison.rows:
        cells = [
            *head(row),
            number_cell(row.score.point),
            _range_cell(row.score),
            number_cell(row.score.n),
            number_cell(row.gap.point, digits=3),
            _probability_cell(row.over_best),
        ]
        if comparison.baseline:
            cells.append(_probability_cell(row.over_baseline))
        rows.append(cells)
    return table(
        f"All configurations; optimality gap: shortfall from {number(comparison.target)}",
        columns,
        rows,
    )


def _range_cell(interval: Interval) -> Cell:
    if interval.n == 1:
        return number_cell(None)
    low, high = (number(end, padded=True) for end in (interval.low, interval.high))
    text = f"[{low}, {high}]"
    return number_cell(interval.low, text=text)


def _probability_cell(interval: Interval | None) -> Cell:
    if interval is None:
        return number_cell(None)
    return number_cell(interval.point, text=_text_of(interval, 2))


def _text_of(interval: Interval, digits: int = 4) -> str:
    return interval_text(interval.point, interval.low, interval.high, digits)
