"""What the runs say: scores with intervals, improvement, curves, means. Pure functions.

The measures follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021). A configuration here is one task, so the stratified bootstrap has one
stratum: the runs of the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stridelab.compare.collect import Collection, Floats, Group, History
from stridelab.compare.importance import StudyImportance, study_importance
from stridelab.compare.threshold import Reached, reached
from stridelab.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    iqm,
    optimality_gap,
    probability_of_improvement,
)
from stridelab_envs.errors import UserError, unknown_name

CONFIDENCE = 0.95
_RESAMPLES = 2000
_BAND_RESAMPLES = 400
"""A band is read by eye, at every point of it."""
_CURVE_POINTS = 60
_MANY = 10
"""From so many configurations on, the best one is also the luckiest."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """A learning curve of a configuration; all ``(points,)``."""

    x: Floats
    """Environment steps, or time since the start [s]."""
    middle: Floats
    """IQM over runs."""
    low: Floats
    high: Floats
    """Ends of the pointwise bootstrap interval, equal to the middle for one run."""
    n: int
    """Number of runs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One configuration."""

    rank: int
    """1 for the best."""
    group: Group
    score: Interval
    """IQM of the scores."""
    gap: Interval
    """Optimality gap: mean shortfall from the target."""
    over_best: Interval | None
    """Probability that a run beats one of the best configuration; None for the best itself."""
    over_baseline: Interval | None
    """The same against the baseline; None for the baseline, and where there is none."""
    reached: Reached | None
    """When its runs reached the threshold; None where none was given."""
    by_steps: Band | None
    by_time: Band | None
    """Learning curves; None where nothing was logged."""
    means: dict[str, float]
    """Mean over runs of the last value of every metric."""
    spreads: dict[str, float]
    """Standard deviation over runs, for metrics that two runs logged."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The whole result, best configuration first."""

    title: str
    metric: str
    curve_metric: str
    mode: str
    """``"max"`` when higher scores are better, else ``"min"``."""
    target: float
    """Score that the optimality gap is measured from."""
    threshold: float | None
    """Value of the curve metric to reach; None where none was given."""
    baseline: Row | None
    rows: tuple[Row, ...]
    importances: tuple[StudyImportance, ...]
    notes: tuple[str, ...]
    """What a reader must know before trusting the numbers, a sentence each."""

    @property
    def runs(self) -> int:
        """Number of runs."""
        return sum(row.score.n for row in self.rows)

    def metrics(self, prefix: str) -> list[str]:
        """Return the names of metrics under ``prefix`` (``eval/``) that any run logged."""
        return sorted({m for row in self.rows for m in row.means if m.startswith(prefix)})

    def record(self) -> dict[str, Any]:
        """Return everything but the curves as plain values, for JSON."""
        return {
            "title": self.title,
            "metric": self.metric,
            "mode": self.mode,
            "target": self.target,
            "threshold": self.threshold,
            "threshold_metric": None if self.threshold is None else self.curve_metric,
            "baseline": self.baseline.group.label if self.baseline else None,
            "configurations": [_row_record(row) for row in self.rows],
            "importance": [_finite_record(asdict(study)) for study in self.importances],
            "notes": list(self.notes),
        }


def compare(
    collection: Collection,
    *,
    mode: str = "max",
    target: float | None = None,
    threshold: float | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Rank configurations and say how sure the ranking is.

    Args:
        collection: The runs.
        mode: ``"max"`` when higher scores are better, ``"min"`` when lower ones are.
        target: Score that counts as solved; the best run's when not given.
        threshold: Value of the curve metric whose first reaching is looked for.
        baseline: Label of the configuration to improve on. When not given, the one that its study
            changed nothing of, if there is exactly one.

    Raises:
        UserError: If there is no configuration of that label.
    """
    sign = 1.0 if mode == "max" else -1.0
    ranked = sorted(collection.groups, key=lambda group: -sign * iqm(group.scores))
    every = np.concatenate([group.scores for group in ranked])
    goal = float(sign * (sign * every).max()) if target is None else target
    reference = _baseline(ranked, baseline)
    best = ranked[0]
    rows = []
    for rank, group in enumerate(ranked, start=1):
        means, spreads = _summary(group)
        rows.append(
            Row(
                rank=rank,
                group=group,
                score=bootstrap_interval(group.scores, iqm, confidence=CONFIDENCE),
                gap=bootstrap_interval(sign * group.scores, _gap_to(sign * goal)),
                over_best=_over(group, best, sign),
                over_baseline=_over(group, reference, sign) if reference else None,
                reached=_reached(group, threshold, mode),
                by_steps=band([_steps(run.history) for run in group.runs]),
                by_time=band([_time(run.history) for run in group.runs]),
                means=means,
                spreads=spreads,
            )
        )
    return Comparison(
        title=collection.title,
        metric=collection.metric,
        curve_metric=collection.curve_metric,
        mode=mode,
        target=goal,
        threshold=threshold,
        baseline=next((row for row in rows if row.group is reference), None),
        rows=tuple(rows),
        importances=tuple(_importances(ranked, mode)),
        notes=(*collection.notes, *_notes(rows)),
    )


def improvement_interval(
    x: ArrayLike,
    y: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the probability that a run of ``x`` scores higher than one of ``y``, with interval.

    Runs of both sides are resampled independently; ties count one half.

    Args:
        x: ``(runs_x,)``.
        y: ``(runs_y,)``.
        confidence: Probability mass of the interval.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no scores, or one is not finite.
    """
    point = probability_of_improvement(x, y)  # checks both
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    wins = 0.5 * (np.sign(first[:, None] - second[None, :]) + 1.0)
    generator = np.random.default_rng(seed)
    # How often each run is drawn stands for the draws themselves.
    drawn_x = generator.multinomial(len(first), np.full(len(first), 1 / len(first)), resamples)
    drawn_y = generator.multinomial(len(second), np.full(len(second), 1 / len(second)), resamples)
    values = np.einsum("bi,ij,bj->b", drawn_x, wins, drawn_y) / wins.size
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(values, [tail, 1.0 - tail])
    smaller = min(len(first), len(second))
    note = f"n = {smaller}: a rough interval" if smaller < 4 else ""
    return Interval(point=point, low=float(low), high=float(high), n=len(first), note=note)


def band(curves: Sequence[tuple[Floats, Floats]]) -> Band | None:
    """Return the IQM over runs along x, with its pointwise bootstrap interval.

    Runs are put on common points by linear interpolation, over the range that all of them cover.

    Args:
        curves: x and values, each ``(points,)``, of each run; runs without points are left out.
    """
    usable = [(x, values) for x, values in curves if len(x)]
    if not usable:
        return None
    first = max(float(x[0]) for x, _ in usable)
    last = max(first, min(float(x[-1]) for x, _ in usable))
    most = max(len(x) for x, _ in usable)
    points = np.linspace(first, last, min(_CURVE_POINTS, most) if last > first else 1)
    values = np.stack([np.interp(points, x, values) for x, values in usable])
    runs = len(values)
    drawn = np.random.default_rng(0).integers(0, runs, size=(_BAND_RESAMPLES, runs))
    tail = 0.5 * (1.0 - CONFIDENCE)
    low, high = np.quantile(_iqm_of_runs(values[drawn]), [tail, 1.0 - tail], axis=0)
    return Band(x=points, middle=_iqm_of_runs(values), low=low, high=high, n=runs)


def _iqm_of_runs(values: Floats) -> Floats:
    """Return the IQM over the axis of the runs, ``(..., runs, points)`` to ``(..., points)``."""
    runs = values.shape[-2]
    cut = int(0.25 * runs)
    ordered = np.sort(values, axis=-2)
    return np.asarray(ordered[..., cut : runs - cut, :].mean(axis=-2))


def _steps(history: History) -> tuple[Floats, Floats]:
    return history.steps, history.values


def _time(history: History) -> tuple[Floats, Floats]:
    # The clock of a machine may be set back; a curve may not.
    return np.maximum.accumulate(history.seconds), history.values


def _baseline(groups: Sequence[Group], label: str | None) -> Group | None:
    if label is None:
        marked = [group for group in groups if group.is_baseline]
        return marked[0] if len(marked) == 1 else None
    for group in groups:
        if group.label == label:
            return group
    raise UserError(unknown_name("configuration", label, [group.label for group in groups]))


def _over(group: Group, other: Group, sign: float) -> Interval | None:
    if group is other:
        return None
    return improvement_interval(sign * group.scores, sign * other.scores)


def _reached(group: Group, threshold: float | None, mode: str) -> Reached | None:
    if threshold is None:
        return None
    return reached([run.history for run in group.runs], threshold, mode)


def _gap_to(target: float) -> Callable[[Floats], float]:
    return lambda scores: optimality_gap(scores, target)


def _summary(group: Group) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and standard deviation over runs of every metric that was logged."""
    values: dict[str, list[float]] = {}
    for run in group.runs:
        for name, value in run.metrics.items():
            values.setdefault(name, []).append(value)
    means = {name: float(np.mean(numbers)) for name, numbers in values.items()}
    spreads = {name: float(np.std(numbers)) for name, numbers in values.items() if len(numbers) > 1}
    return means, spreads


def _importances(groups: Sequence[Group], mode: str) -> list[StudyImportance]:
    studies: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        studies.setdefault((group.experiment, group.study), []).append(group)
    return [study_importance(members, mode=mode) for members in studies.values() if members[1:]]


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = []
    total = len(rows)
    if few := sum(row.score.n < 4 for row in rows):
        notes.append(
            f"n < 4 for {few} of {total} configurations: the IQM is then the plain mean, and "
            "intervals are too narrow."
        )
    if single := sum(row.score.n == 1 for row in rows):
        notes.append(f"{single} of {total} configurations have one run, which gives no interval.")
    steps = [
        run.history.steps[-1] for row in rows for run in row.group.runs if len(run.history.steps)
    ]
    if steps and max(steps) > 1.05 * min(steps):
        notes.append(
            f"Runs ended after {min(steps):,.0f} to {max(steps):,.0f} environment steps: scores "
            "are last values, not values after equal experience."
        )
    if total >= _MANY:
        notes.append(
            f"The best of {total} is picked by the runs that it is scored on: run it again under "
            "new seeds before you trust its lead."
        )
    return notes


def _row_record(row: Row) -> dict[str, Any]:
    group = row.group
    return {
        "rank": row.rank,
        "label": group.label,
        "experiment": group.experiment,
        "study": group.study,
        "assignment": group.assignment,
        "n": row.score.n,
        "iqm": asdict(row.score),
        "optimality_gap": asdict(row.gap),
        "improvement_over_best": asdict(row.over_best) if row.over_best else None,
        "improvement_over_baseline": asdict(row.over_baseline) if row.over_baseline else None,
        "steps_to_threshold": row.reached.record() if row.reached else None,
        "metrics": row.means,
        "runs": [
            {"run_id": run.run_id, "seed": run.seed, "score": run.score} for run in group.runs
        ],
    }


def _finite_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with NaN as None: JSON has no word for it."""
    return {key: None if value != value else value for key, value in record.items()}
