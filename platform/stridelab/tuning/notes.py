"""The prepared comparison of a study: a note in words and the axes of its picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import numpy as np

from stridelab.evaluation.plots import ParallelAxis
from stridelab.evaluation.statistics import bootstrap_interval
from stridelab.experiment import parse_experiment
from stridelab.experiment.search_space import Space
from stridelab.tuning.report import aggregate_of, ranking, scores
from stridelab.tuning.study import StudyResult
from stridelab.tuning.tuner import metric_of

_MAX_AXES = 12
_MAX_ROWS = 12
_MAX_COMPARED = 50
"""More runs make the UI's page slow."""
_LOG = ("loguniform", "power_of_two")


def parallel_axes(result: StudyResult) -> list[ParallelAxis]:
    """Return one axis for each thing that differs between configurations, then the score.

    Presets of rewards stand for their weights, those that differ; with more than twelve axes the
    ones that move the score most, by rank correlation, are shown.
    """
    metric, _ = metric_of(result.experiment)
    ranked = ranking(result)
    if not ranked or result.experiment.sweep is None:
        return []
    aggregate = aggregate_of(result)
    values = [aggregate(np.array(scores(outcomes, metric))) for _, outcomes in ranked]
    # Without the sweep, whose checks would run again for each configuration.
    base = parse_experiment(result.experiment.single())
    flats = [
        {**base.with_values(outcomes[0].assignment).flat(), **outcomes[0].assignment}
        for _, outcomes in ranked
    ]
    spaces = result.experiment.sweep.space.spaces
    names = [
        name
        for name in sorted({name for flat in flats for name in flat})
        if _is_shown(name, spaces)
    ]
    axes = []
    for name in names:
        column = tuple(_plain(flat.get(name)) for flat in flats)
        if len(set(column)) > 1:
            space = spaces.get(name)
            numbers = [value for value in column if isinstance(value, int | float)]
            log = space is not None and space.kind in _LOG and all(v > 0 for v in numbers)
            axes.append(ParallelAxis(label=name.removeprefix("task."), values=column, log=log))
    if len(axes) > _MAX_AXES:
        axes.sort(key=lambda axis: -_correlation(axis, values))
        axes = axes[:_MAX_AXES]
    return [*axes, ParallelAxis(label=metric, values=tuple(values))]


def _is_shown(name: str, spaces: Mapping[str, Space]) -> bool:
    """Whether a setting is swept itself, or one of the weights that swept presets choose."""
    if name in spaces:
        return spaces[name].kind != "presets"
    presets = [key for key, space in spaces.items() if space.kind == "presets"]
    return any(name.startswith(f"{key}.") and name != f"{key}.preset" for key in presets)


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return str(value)


def _correlation(axis: ParallelAxis, values: list[float]) -> float:
    """Return the strength of the rank correlation of an axis with the score, 0 for names."""
    numbers = [float(v) if isinstance(v, int | float) else np.nan for v in axis.values]
    if not np.isfinite(numbers).all():
        return 0.0
    ranks = np.array([np.argsort(np.argsort(column)) for column in (numbers, values)])
    return abs(float(np.corrcoef(ranks)[0, 1]))


def study_note(result: StudyResult, experiment_id: str) -> str:
    """Return the description of a study's parent run, in Markdown: ranking and how to compare.

    Args:
        result: The study.
        experiment_id: Of the MLflow experiment; empty where it is not known.
    """
    experiment = result.experiment
    metric, mode = metric_of(experiment)
    ranked = ranking(result)
    lines = [experiment.description or f"Study `{result.folder.name}`.", ""]
    if result.stopped:
        lines += [f"**Stopped by {result.stopped}**; `--resume` goes on.", ""]
    best = "highest" if mode == "max" else "lowest"
    lines += [
        f"`{metric}`, the {best} first, with 95 % bootstrap intervals over seeds:",
        "",
        "| configuration | score | n |",
        "|---|---|---|",
    ]
    for label, outcomes in ranked[:_MAX_ROWS]:
        interval = bootstrap_interval(scores(outcomes, metric), aggregate_of(result))
        score = f"{interval.point:.3g} [{interval.low:.3g}, {interval.high:.3g}]"
        lines.append(f"| {label.replace('|', '/')} | {score} | {len(outcomes)} |")
    if len(ranked) > _MAX_ROWS:
        lines.append(f"| … and {len(ranked) - _MAX_ROWS} more | | |")
    lines += ["", *_how_to_compare(result, metric, experiment_id)]
    return "\n".join(lines)


def _how_to_compare(result: StudyResult, metric: str, experiment_id: str) -> list[str]:
    keys = ", ".join(f"`{key}`" for key in result.experiment.differences)
    lines = ["Pictures: artifacts, folder `plots`; a page with all trials: folder `compare`."]
    link = _comparison_link(result, experiment_id)
    if keys and link:
        lines.append(
            f"In this UI: [compare the trials]({link}), *Parallel Coordinates Plot*; parameters "
            f"{keys}, metric `{metric}`."
        )
    lines.append(f"At the terminal: `stridelab compare {result.folder.name} --metric {metric}`.")
    return lines


def _comparison_link(result: StudyResult, experiment_id: str) -> str:
    """Return where the UI compares the trials, the best ones where it cannot show all."""
    runs = [o.run_id for _, outcomes in ranking(result) for o in outcomes if o.run_id is not None]
    query = {"runs": runs[:_MAX_COMPARED], "experiments": [experiment_id]}
    texts = {name: json.dumps(ids, separators=(",", ":")) for name, ids in query.items()}
    # Without the last part the UI of MLflow 3 shows its menu for language models beside it.
    query_text = urlencode(texts | {"workflowType": "machine_learning"})
    return f"#/compare-runs?{query_text}" if experiment_id and len(runs) > 1 else ""
