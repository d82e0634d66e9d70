"""After a study: the ranking, its pictures, and a film of the best policy, kept in MLflow."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from stridelab.evaluation.film import film_policy
from stridelab.evaluation.plots import SweepRow, learning_curves, sweep_summary
from stridelab.evaluation.statistics import bootstrap_interval, iqm
from stridelab.export.bundle import load_bundle
from stridelab.tracking.store import Store, open_store
from stridelab.tuning.folder import storage_folder
from stridelab.tuning.outcomes import PLOTTED, Outcome
from stridelab.tuning.study import StudyResult
from stridelab.tuning.trial import POLICY_FOLDER
from stridelab.tuning.tuner import metric_of
from stridelab_envs.errors import UserError

_COLUMNS = {
    "episode/return": "return",
    "eval/survival_rate": "survival",
    "eval/forward_velocity": "m/s",
    "eval/foot_switches_per_second": "switches/s",
    "value/explained_variance": "expl. var.",
}
"""Shown in the table where the results hold them."""
_FILM_SECONDS = 6.0


def ranking(result: StudyResult) -> list[tuple[str, list[Outcome]]]:
    """Group finished trials by configuration, the best first by the IQM over seeds."""
    metric, mode = metric_of(result.experiment)
    groups: dict[str, list[Outcome]] = {}
    for outcome in result.outcomes:
        if outcome.error is None and _has(outcome, metric):
            # By value: labels are rounded, and two draws may print alike.
            key = json.dumps(outcome.assignment, sort_keys=True, default=str)
            groups.setdefault(key, []).append(outcome)
    sign = -1.0 if mode == "max" else 1.0
    ranked = sorted(groups.values(), key=lambda group: sign * iqm(_scores(group, metric)))
    return list(zip(_labels(ranked), ranked, strict=True))


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
        caption=f"score: {metric}, IQM over n seeds [95 % interval]",
        header_style="bold",
    )
    table.add_column("configuration", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    shown = [name for name in _COLUMNS if any(_has(o, name) for o in result.outcomes)]
    for name in shown:
        table.add_column(_COLUMNS[name], justify="right")
    for label, outcomes in ranking(result):
        interval = bootstrap_interval(_scores(outcomes, metric), iqm)
        means = [_mean(float(o.metrics[name]) for o in outcomes if _has(o, name)) for name in shown]
        table.add_row(
            label,
            f"{interval.point:.3g}  [{interval.low:.3g}, {interval.high:.3g}]",
            str(len(outcomes)),
            *("-" if math.isnan(value) else f"{value:.3g}" for value in means),
        )
    return table


def keep_results(result: StudyResult) -> list[str]:
    """Record bundles, plots and a film in MLflow.

    Every trial keeps its policy bundle and learning curve; the best trial and the parent get the
    film, the parent the comparison.

    Returns:
        What could not be made, a line each; missing OpenGL must not spoil a finished study.
    """
    experiment = result.experiment
    store = open_store(result.tracking_uri, experiment.name, storage_folder(experiment))
    pictures = result.folder / "pictures"
    try:
        for outcome in result.outcomes:
            _keep_trial(store, outcome, result, pictures)
        if result.parent_run_id is not None:
            _keep_best_metrics(store, result, result.parent_run_id)
            for picture in _compare(result, pictures):
                store.log_artifact(result.parent_run_id, picture, "plots")
        problems = _keep_film(store, result, pictures)
    finally:
        store.close()
    return problems


def _keep_best_metrics(store: Store, result: StudyResult, run_id: str) -> None:
    """Give the parent the best trial's last metrics, so that sweeps compare in one table."""
    best = best_outcome(result)
    if best is not None:
        store.log_metrics(run_id, best.metrics, int(best.metrics["env_steps"]))
        store.set_tags(run_id, {"stridelab.best": f"{best.label} seed={best.seed}"})


def _keep_film(store: Store, result: StudyResult, pictures: Path) -> list[str]:
    best = best_outcome(result)
    if best is None or best.checkpoint is None or not result.experiment.train.video:
        return []
    try:
        films = film_policy(load_bundle(best.checkpoint), pictures / "best", seconds=_FILM_SECONDS)
    except UserError as error:
        return [f"no video: {error}"]
    for run_id in (best.run_id, result.parent_run_id):
        if run_id is not None:
            for film in films:
                store.log_artifact(run_id, film, "video")
    return []


def _keep_trial(store: Store, outcome: Outcome, result: StudyResult, pictures: Path) -> None:
    if outcome.run_id is None:
        return
    if outcome.checkpoint is not None:
        store.log_artifact(outcome.run_id, outcome.checkpoint / POLICY_FOLDER, POLICY_FOLDER)
    for name, curve in outcome.curves.items():
        path = pictures / outcome.run_id / _file_name(name)
        label = f"{outcome.label} seed={outcome.seed}"
        learning_curves({label: [curve]}, path, title=label, ylabel=name)
        store.log_artifact(outcome.run_id, path, "plots")


def _file_name(metric: str) -> str:
    return f"learning_curve_{metric.rpartition('/')[2]}.png"


def _compare(result: StudyResult, pictures: Path) -> list[Path]:
    """Draw all configurations together."""
    metric, _ = metric_of(result.experiment)
    ranked = ranking(result)
    if not ranked:
        return []
    files = []
    for name in PLOTTED:
        curves = {
            label: [o.curves[name] for o in group if name in o.curves] for label, group in ranked
        }
        if not any(curves.values()):
            continue
        files.append(pictures / _file_name(name))
        learning_curves(curves, files[-1], title=result.experiment.name, ylabel=name)
    rows = [
        SweepRow(
            label=label,
            interval=bootstrap_interval(_scores(outcomes, metric), iqm),
            values=tuple(_scores(outcomes, metric)),
        )
        for label, outcomes in ranked
    ]
    files.append(pictures / "comparison.png")
    sweep_summary(rows, files[-1], title=result.experiment.name, xlabel=f"{metric}, IQM over seeds")
    return files


def _scores(outcomes: list[Outcome], metric: str) -> list[float]:
    return [float(outcome.metrics[metric]) for outcome in outcomes]


def _has(outcome: Outcome, name: str) -> bool:
    value = outcome.metrics.get(name)
    return isinstance(value, int | float) and math.isfinite(value)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan
