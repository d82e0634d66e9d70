"""What is kept of a study in MLflow beside its metrics: policies, pictures, a film, notes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mlflow.exceptions import MlflowException

from stridelab.compare.analysis import compare
from stridelab.compare.collect import collect
from stridelab.compare.page import write_page
from stridelab.compare.pictures import write_pictures
from stridelab.evaluation.film import film_policy
from stridelab.evaluation.plots import (
    SweepRow,
    learning_curves,
    parallel_coordinates,
    sweep_summary,
)
from stridelab.evaluation.statistics import bootstrap_interval
from stridelab.export.bundle import load_bundle
from stridelab.tracking.model import MODEL_FOLDER, save_model
from stridelab.tracking.store import Store, open_store
from stridelab.tuning.notes import parallel_axes, study_note
from stridelab.tuning.outcomes import PLOTTED, Outcome
from stridelab.tuning.report import (
    aggregate_of,
    best_outcome,
    ranking,
    scores,
    term_worths,
)
from stridelab.tuning.study import StudyResult, storage_address
from stridelab.tuning.trial import POLICY_FOLDER
from stridelab.tuning.tuner import metric_of
from stridelab_envs.errors import UserError

_FILM_SECONDS = 6.0
_NOTE_TAG = "mlflow.note.content"
"""What the MLflow UI shows as the description of a run."""


def keep_results(result: StudyResult) -> list[str]:
    """Record bundles, plots and a film in MLflow.

    Every trial keeps its policy bundle and learning curve; the best trial and the parent get the
    film, the parent the comparison and a note. The best policy of a finished study becomes a
    version of the registered model of the experiment's name.

    Returns:
        What could not be made, a line each; missing OpenGL must not spoil a finished study.
    """
    experiment = result.experiment
    store = open_store(result.tracking_uri, experiment.name, storage_address(experiment))
    local = result.folder.local
    with tempfile.TemporaryDirectory(prefix="stridelab-") as scratch:
        pictures = Path(scratch) if local is None else local / "pictures"
        try:
            problems = [
                problem
                for outcome in (*result.earlier, *result.outcomes)
                for problem in _keep_trial(store, outcome, pictures)
            ]
            if result.parent_run_id is not None:
                _keep_parent(store, result, result.parent_run_id, pictures)
                problems += _keep_comparison(store, result, result.parent_run_id, pictures)
            problems += _keep_film(store, result, pictures)
            if not result.stopped:
                _register(store, result, Path(scratch))
        finally:
            store.close()
    return problems


def _keep_parent(store: Store, result: StudyResult, run_id: str, pictures: Path) -> None:
    """Give the parent the best trial's last metrics, the comparison, and a note."""
    best = best_outcome(result)
    if best is not None:
        # So that sweeps compare in one table.
        store.log_metrics(run_id, best.metrics, int(best.metrics["env_steps"]))
        store.set_tags(run_id, {"stridelab.best": f"{best.label} seed={best.seed}"})
    for picture in _compare(result, pictures):
        store.log_artifact(run_id, picture, "plots")
    store.set_tags(run_id, {_NOTE_TAG: study_note(result, _experiment_id(store))})


def _experiment_id(store: Store) -> str:
    try:
        return store.experiment_id()
    except MlflowException:  # the server is away
        return ""


def _keep_comparison(store: Store, result: StudyResult, run_id: str, pictures: Path) -> list[str]:
    """Give the parent what ``stridelab compare`` shows of the study: its page and pictures."""
    if result.stopped:
        return []
    metric, mode = metric_of(result.experiment)
    name = result.experiment.name
    try:
        collection = collect(result.tracking_uri, [run_id], metric, within=name)
    except UserError as error:  # no trial has finished, or the store is away
        return [f"no comparison: {error}"]
    comparison = compare(replace(collection, title=name), mode=mode)
    page = pictures / "compare" / "compare.html"
    write_page(comparison, page)
    for file in (page, *write_pictures(comparison, page.parent)):
        store.log_artifact(run_id, file, "compare")
    return []


def _keep_film(store: Store, result: StudyResult, pictures: Path) -> list[str]:
    best = best_outcome(result)
    if best is None or best.checkpoint is None or not result.experiment.train.video:
        return []
    try:
        policy = load_bundle(best.checkpoint.policy())
        films = film_policy(policy, pictures / "best", seconds=_FILM_SECONDS)
    except UserError as error:
        return [f"no video: {error}"]
    for run_id in (best.run_id, result.parent_run_id):
        if run_id is not None:
            for film in films:
                store.log_artifact(run_id, film, "video")
    return []


def _keep_trial(store: Store, outcome: Outcome, pictures: Path) -> Iterator[str]:
    """Keep a trial's policy and curves; yield what is missing."""
    if outcome.run_id is None:
        return
    if outcome.checkpoint is not None:
        try:
            store.log_artifact(outcome.run_id, outcome.checkpoint.policy(), POLICY_FOLDER)
        except FileNotFoundError as error:
            yield f"no policy of {outcome.label} seed={outcome.seed}: there is no {error}"
    for name, curve in outcome.curves.items():
        path = pictures / outcome.run_id / _file_name(name)
        label = f"{outcome.label} seed={outcome.seed}"
        learning_curves({label: [curve]}, path, title=label, ylabel=name)
        store.log_artifact(outcome.run_id, path, "plots")


def _register(store: Store, result: StudyResult, scratch: Path) -> None:
    """Make the best policy a version of the registered model of the experiment's name."""
    best = best_outcome(result)
    if best is None or best.run_id is None or best.checkpoint is None:
        return
    metric, _ = metric_of(result.experiment)
    folder = scratch / MODEL_FOLDER
    save_model(best.checkpoint.policy(), folder)
    store.log_artifact(best.run_id, folder, MODEL_FOLDER)
    tags = {
        "stridelab.task": result.experiment.task.id,
        "stridelab.configuration": f"{best.label} seed={best.seed}",
        "stridelab.metric": metric,
        "stridelab.score": f"{best.metrics[metric]:.6g}",
        "stridelab.env_steps": best.checkpoint.env_steps,
    }
    store.register_model(best.run_id, result.experiment.name, tags)


def _file_name(metric: str) -> str:
    return f"learning_curve_{metric.rpartition('/')[2]}.png"


def _compare(result: StudyResult, pictures: Path) -> list[Path]:
    """Draw all configurations together."""
    metric, mode = metric_of(result.experiment)
    ranked = ranking(result)
    if not ranked:
        return []
    title = result.experiment.name
    files = []
    for name in PLOTTED:
        curves = {
            label: [o.curves[name] for o in group if name in o.curves] for label, group in ranked
        }
        if any(curves.values()):
            files.append(pictures / _file_name(name))
            learning_curves(curves, files[-1], title=title, ylabel=name)
    aggregate = aggregate_of(result)
    rows = [
        SweepRow(
            label=label,
            interval=bootstrap_interval(scores(outcomes, metric), aggregate),
            values=tuple(scores(outcomes, metric)),
        )
        for label, outcomes in ranked
    ]
    files.append(pictures / "comparison.png")
    sweep_summary(rows, files[-1], title=title, xlabel=f"{metric}, score over seeds")
    axes = parallel_axes(result)
    if len(axes) > 1:
        files.append(pictures / "parallel_coordinates.png")
        parallel_coordinates(axes, files[-1], title=title, mode=mode)
    worths = [
        SweepRow(label=worth.label, interval=worth.loss, values=worth.values)
        for worth in term_worths(result)
    ]
    if worths:
        files.append(pictures / "ablation.png")
        xlabel = f"loss of {metric} when the term is switched off"
        sweep_summary(worths, files[-1], title=f"{title}: what each term is worth", xlabel=xlabel)
    return files
