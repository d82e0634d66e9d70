"""The sections of the page, from a comparison to HTML; ``""`` where there is nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.charts import (
    Bar,
    BarGroup,
    IntervalRow,
    Series,
    bars,
    curves,
    intervals,
)
from stridelab.compare.collect import Run
from stridelab.compare.importance import StudyImportance
from stridelab.compare.marks import sample
from stridelab.compare.markup import (
    Cell,
    Column,
    count,
    figure,
    folded,
    hint,
    number_cell,
    table,
    text_cell,
)
from stridelab.compare.scales import count_unit, interval_text, number, time_unit
from stridelab.evaluation.statistics import Interval

_CURVES_SHOWN = 8
_INTERVALS_SHOWN = 30
_BARS_SHOWN = 4
_RANK = Column(title="#", first="ascending")
_CONFIGURATION = Column(title="configuration", is_text=True, first="ascending")


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
        _RANK,
        _CONFIGURATION,
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
            *_head(row),
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


def _head(row: Row) -> list[Cell]:
    """Return the two cells that name a configuration."""
    rank = Cell(f"{row.rank} {sample(row.rank)}", str(row.rank))
    label = row.group.label
    # A narrow column breaks a label after a name rather than within a number.
    return [rank, Cell(escape(label).replace("=", "=<wbr>"), label)]


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


def evaluation(comparison: Comparison) -> str:
    """Return tables of what was measured besides the score."""
    at_end = _means_table(
        comparison,
        comparison.metrics("eval/"),
        "Deterministic episodes after training, mean ± standard deviation over runs",
    )
    training = _means_table(
        comparison,
        [*comparison.metrics("episode/"), *comparison.metrics("metric/")],
        "The last training iteration, mean ± standard deviation over runs",
    )
    return at_end + (folded("Episodes while training, as a table", training) if training else "")


def _means_table(comparison: Comparison, names: Sequence[str], caption: str) -> str:
    if not names:
        return ""
    columns = [Column(title=name.partition("/")[2].replace("_", " ")) for name in names]
    cells = [[*_head(row), *(_mean_cell(row, name) for name in names)] for row in comparison.rows]
    return table(caption, [_RANK, _CONFIGURATION, *columns], cells)


def _mean_cell(row: Row, name: str) -> Cell:
    mean, spread = row.means.get(name), row.spreads.get(name)
    if mean is None or spread is None:
        return number_cell(mean, digits=3)
    text = f"{number(mean, 3, padded=True)} ± {number(spread, 2, padded=True)}"
    return number_cell(mean, text=text)


def rewards(comparison: Comparison) -> str:
    """Return the reward terms of the best and the baseline as bars, of all as a table."""
    names = comparison.metrics("reward/")
    if not names:
        return ""
    shown = [
        row for row in comparison.rows if row.rank <= _BARS_SHOWN or row is comparison.baseline
    ]
    names.sort(key=lambda name: -max(abs(row.means.get(name, 0.0)) for row in shown))
    groups = [_reward_group(name, shown) for name in names]
    groups = [group for group in groups if group.bars]
    half = (len(groups) + 1) // 2
    about = f"Mean reward of each term per second, for {count(len(shown), 'configuration')}."
    xlabel = "weighted reward per second [1/s]"
    charts = figure(bars(groups[:half], about=about, xlabel=xlabel), "The larger terms")
    if groups[half:]:
        smaller = bars(groups[half:], about=about, xlabel=xlabel)
        charts += figure(smaller, "The smaller terms, on a scale of their own")
    every = _means_table(comparison, names, "Weighted reward per second [1/s]")
    keys = ", ".join(f"{row.rank} {row.group.label}" for row in shown)
    return (
        hint(f"Weighted mean of each term in the last training iteration. Bars: {keys}.")
        + f'<div class="pair">{charts}</div>'
        + folded("All configurations as a table", every)
    )


def _reward_group(name: str, rows: Sequence[Row]) -> BarGroup:
    return BarGroup(
        label=name.removeprefix("reward/"),
        bars=tuple(
            Bar(
                value=row.means[name],
                text=number(row.means[name], 3),
                rank=row.rank,
                key=str(row.rank),
            )
            for row in rows
            if name in row.means
        ),
    )


def importance(importances: Sequence[StudyImportance]) -> str:
    """Return the importance of the parameters of each study."""
    return "".join(map(_study_importance, importances))


def _study_importance(study: StudyImportance) -> str:
    heading = f"<h3>{escape(study.study)}</h3>"
    if not study.parameters:
        return heading + hint(f"No estimate: {study.note}.")
    groups = [
        BarGroup(
            label=item.name,
            bars=(Bar(value=max(item.importance, 0.0), text=number(max(item.importance, 0.0), 2)),),
        )
        for item in study.parameters
    ]
    chart = bars(groups, about=f"Importance in {study.study}.", xlabel="share of the variance")
    rows = [
        [
            number_cell(rank),
            text_cell(item.name),
            number_cell(item.importance, digits=2),
            text_cell(item.trend),
        ]
        for rank, item in enumerate(study.parameters, start=1)
    ]
    columns = [
        _RANK,
        Column(title="parameter", is_text=True, first="ascending"),
        Column(title="share"),
        Column(title="better scores", is_text=True, first="ascending"),
    ]
    about = (
        f"From {study.configurations} configurations; R² {study.fit:.2f} on configurations that a "
        "tree had not seen."
    )
    warning = f" {study.note.capitalize()}." if study.note else ""
    caption = "Share of the variance of the scores that a parameter causes"
    return (
        heading
        + hint(about + warning)
        + f'<div class="pair">{figure(chart, caption)}<div>'
        + table(f"Parameters of {study.study}", columns, rows)
        + "</div></div>"
    )


def settings(rows: Sequence[Row]) -> str:
    """Return what was set differently, a row a configuration."""
    if len(rows) < 2:
        return ""
    settings = [row.group.runs[0].params for row in rows]
    names = sorted({name for params in settings for name in params} - {"seed", "name"})
    names = [name for name in names if len({params.get(name) for params in settings}) > 1]
    if not names:
        return ""
    columns = [Column(title=name, is_text=True, first="ascending") for name in names]
    cells = [
        [*_head(row), *(text_cell(params.get(name, "-")) for name in names)]
        for row, params in zip(rows, settings, strict=True)
    ]
    all_settings = table("Settings that differ", [_RANK, _CONFIGURATION, *columns], cells)
    return folded(f"{count(len(names), 'setting')}, as a table", all_settings)


def runs(comparison: Comparison) -> str:
    """Return every run with its id, folded."""
    columns = [
        _RANK,
        _CONFIGURATION,
        Column(title="seed", is_text=True, first="ascending"),
        Column(title="score"),
        Column(title="environment steps"),
        Column(title="training time [min]"),
        Column(title="run id", is_text=True, first="ascending"),
    ]
    rows = [[*_head(row), *_run_cells(run)] for row in comparison.rows for run in row.group.runs]
    every = table("Every run with the rank of its configuration", columns, rows)
    return folded(f"{count(comparison.runs, 'run')}, as a table", every)


def _run_cells(run: Run) -> list[Cell]:
    history = run.history
    steps = float(history.steps[-1]) if len(history.steps) else None
    minutes = float(history.seconds[-1]) / 60.0 if len(history.seconds) else None
    return [
        text_cell(run.seed),
        number_cell(run.score),
        number_cell(steps, text="" if steps is None else f"{steps:,.0f}"),
        number_cell(minutes, digits=3),
        Cell(f"<code>{escape(run.run_id)}</code>", run.run_id),
    ]
