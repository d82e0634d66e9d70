"""After a study: the ranking, and what an ablation's terms are worth."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.table import Table

from stridelab.evaluation.statistics import (
    Interval,
    Statistic,
    bootstrap_interval,
    difference_interval,
)
from stridelab.tuning.outcomes import Outcome
from stridelab.tuning.seed_search import AGGREGATES
from stridelab.tuning.study import StudyResult
from stridelab.tuning.tuner import metric_of

_COLUMNS = {
    "episode/return": "return",
    "eval/survival_rate": "survival",
    "eval/forward_velocity": "m/s",
    "eval/foot_switches_per_second": "switches/s",
    "value/explained_variance": "expl. var.",
}
"""Shown in the table where the results hold them."""
_NAMES = {"iqm": "IQM", "mean": "mean"}


@dataclass(frozen=True)
class TermWorth:
    """What one term of an ablation is worth."""

    label: str
    """For example ``without upright``."""
    score: Interval
    """Score without it."""
    loss: Interval
    """How much worse the score is without it; below 0 it is better without."""
    values: tuple[float, ...]
    """Loss of each seed against the score of all terms together."""


def ranking(result: StudyResult) -> list[tuple[str, list[Outcome]]]:
    """Group ended trials by configuration, the best first by the score over seeds."""
    metric, mode = metric_of(result.experiment)
    groups: dict[str, list[Outcome]] = {}
    for outcome in result.outcomes:
        if outcome.error is None and not outcome.is_unfinished and has_metric(outcome, metric):
            groups.setdefault(outcome.configuration, []).append(outcome)
    sign = -1.0 if mode == "max" else 1.0
    aggregate = aggregate_of(result)
    ranked = sorted(
        groups.values(), key=lambda group: sign * aggregate(np.array(scores(group, metric)))
    )
    return list(zip(_labels(ranked), ranked, strict=True))


def aggregate_of(result: StudyResult) -> Statistic:
    """Return how the seeds of a configuration become one score."""
    return AGGREGATES[_aggregate_name(result)]


def _aggregate_name(result: StudyResult) -> str:
    sweep = result.experiment.sweep
    return sweep.aggregate if sweep is not None else "iqm"


def _labels(groups: list[list[Outcome]]) -> list[str]:
    """Return the label of each group, numbered where an earlier one has the same."""
    seen: Counter[str] = Counter()
    labels = []
    for group in groups:
        label = group[0].label
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return labels


def best_outcome(result: StudyResult) -> Outcome | None:
    """Return the best single trial of the best configuration, None if none finished."""
    metric, mode = metric_of(result.experiment)
    ranked = ranking(result)
    if not ranked:
        return None
    pick = max if mode == "max" else min
    return pick(ranked[0][1], key=lambda outcome: float(outcome.metrics[metric]))


def result_table(result: StudyResult) -> Table:
    """Return one row a configuration: score with its interval, then what else was measured."""
    metric, _ = metric_of(result.experiment)
    table = Table(
        title=f"{result.experiment.name}: best first",
        caption=f"score: {metric}, {_score_words(result)} [95 % interval]",
        header_style="bold",
        box=box.SIMPLE_HEAD,  # of the boxes the one that leaves most room
        pad_edge=False,
        collapse_padding=True,
    )
    # Only this one may break, so that the others stay on a narrow terminal.
    table.add_column("configuration", overflow="fold")
    shown = [name for name in _COLUMNS if any(has_metric(o, name) for o in result.outcomes)]
    for title in ("score", "n", *(_COLUMNS[name] for name in shown)):
        table.add_column(title, justify="right", no_wrap=True)
    for label, outcomes in ranking(result):
        interval = bootstrap_interval(scores(outcomes, metric), aggregate_of(result))
        means = [
            _mean(float(o.metrics[name]) for o in outcomes if has_metric(o, name)) for name in shown
        ]
        table.add_row(
            label,
            _text(interval),
            str(len(outcomes)),
            *("-" if math.isnan(value) else f"{value:.3g}" for value in means),
        )
    return table


def term_worths(result: StudyResult) -> list[TermWorth]:
    """Return what each term of an ablation is worth, the greatest loss first.

    Empty without an ablation, and where the trials with all terms did not finish.
    """
    if result.experiment.ablation is None:
        return []
    metric, mode = metric_of(result.experiment)
    sign = 1.0 if mode == "max" else -1.0
    aggregate = aggregate_of(result)
    ranked = ranking(result)
    whole = next((outcomes for _, outcomes in ranked if not outcomes[0].assignment), None)
    if whole is None:
        return []
    full = [sign * score for score in scores(whole, metric)]
    worths = []
    for label, outcomes in ranked:
        if outcomes is whole:
            continue
        without = [sign * score for score in scores(outcomes, metric)]
        reference = aggregate(np.array(full))
        worths.append(
            TermWorth(
                label=label,
                score=bootstrap_interval(scores(outcomes, metric), aggregate),
                loss=difference_interval(full, without, aggregate),
                values=tuple(reference - score for score in without),
            )
        )
    return sorted(worths, key=lambda worth: -worth.loss.point)


def ablation_table(result: StudyResult) -> Table:
    """Return one row a term: the score without it, and how much is lost."""
    metric, _ = metric_of(result.experiment)
    table = Table(
        title=f"{result.experiment.name}: the greatest loss first",
        caption=f"score: {metric}, {_score_words(result)} [95 % interval]",
        header_style="bold",
    )
    table.add_column("switched off", no_wrap=True)
    for name in ("score", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    for _, outcomes in ranking(result):
        if not outcomes[0].assignment:
            interval = bootstrap_interval(scores(outcomes, metric), aggregate_of(result))
            table.add_row("nothing", _text(interval), "", str(len(outcomes)), end_section=True)
    for worth in term_worths(result):
        table.add_row(
            worth.label.removeprefix("without "),
            _text(worth.score),
            _text(worth.loss),
            str(worth.score.n),
        )
    return table


def scores(outcomes: list[Outcome], metric: str) -> list[float]:
    """Return the last value of a metric of each trial."""
    return [float(outcome.metrics[metric]) for outcome in outcomes]


def has_metric(outcome: Outcome, name: str) -> bool:
    """Whether a trial's last result has a finite value of a metric."""
    value = outcome.metrics.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _score_words(result: StudyResult) -> str:
    return f"{_NAMES[_aggregate_name(result)]} over n seeds"


def _text(interval: Interval) -> str:
    return f"{interval.point:.3g}  [{interval.low:.3g}, {interval.high:.3g}]"


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan
