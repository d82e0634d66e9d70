"""What was set: importance of parameters, settings that differ, single runs."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.charts import Bar, BarGroup, bars
from stridelab.compare.collect import Run
from stridelab.compare.importance import StudyImportance
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
from stridelab.compare.scales import number
from stridelab.compare.sections.cells import CONFIGURATION, RANK, head


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
        RANK,
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
        [*head(row), *(text_cell(params.get(name, "-")) for name in names)]
        for row, params in zip(rows, settings, strict=True)
    ]
    all_settings = table("Settings that differ", [RANK, CONFIGURATION, *columns], cells)
    return folded(f"{count(len(names), 'setting')}, as a table", all_settings)


def runs(comparison: Comparison) -> str:
    """Return every run with its id, folded."""
    columns = [
        RANK,
        CONFIGURATION,
        Column(title="seed", is_text=True, first="ascending"),
        Column(title="score"),
        Column(title="environment steps"),
        Column(title="training time [min]"),
        Column(title="run id", is_text=True, first="ascending"),
    ]
    rows = [[*head(row), *_run_cells(run)] for row in comparison.rows for run in row.group.runs]
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
