"""Running an experiment on Ray Tune: start, resume, and what came out."""

from __future__ import annotations

import logging
import math
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Repeater, Searcher
from rich.console import Console

from stridelab.experiment import Experiment
from stridelab.experiment.sections import HierarchicalSection
from stridelab.skills.module_config import hierarchical_config
from stridelab.tracking.callback import MlflowCallback, ParentRun
from stridelab.tracking.provenance import git_commit
from stridelab.tracking.store import default_uri, open_store
from stridelab.tracking.trials import TrialInfo, run_name
from stridelab.tuning.cases import draw_cases
from stridelab.tuning.folder import StudyFolder, create, reopen, storage_folder
from stridelab.tuning.progress import ProgressCallback
from stridelab.tuning.trial import Trial, trial_case, trial_experiment
from stridelab_envs.errors import UserError

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Environment steps and values, each ``(num_results,)``."""
PLOTTED = ("episode/return", "episode/length")
"""Metrics that get a learning curve."""


@dataclass(frozen=True)
class Outcome:
    """One trial as it ended."""

    assignment: dict[str, Any]
    """Swept values, dotted key to value."""
    seed: int
    label: str
    """The assignment as text, the same for all seeds."""
    metrics: dict[str, Any]
    """The last result."""
    curves: dict[str, Curve]
    """Environment steps and values there, for each metric of :data:`PLOTTED` that was logged."""
    checkpoint: Path | None
    """Folder of the last checkpoint."""
    run_id: str | None
    """MLflow run."""
    error: str | None
    """What stopped the trial, None if it finished."""


@dataclass(frozen=True)
class StudyResult:
    """All trials of one study."""

    experiment: Experiment
    folder: Path
    """Where Tune keeps the study."""
    tracking_uri: str
    parent_run_id: str | None
    outcomes: list[Outcome]


def metric_of(experiment: Experiment) -> tuple[str, str]:
    """Return the metric by which trials are compared, and ``max`` or ``min``."""
    sweep = experiment.sweep
    return (sweep.metric, sweep.mode) if sweep else ("episode/return", "max")


def tracking_uri(experiment: Experiment) -> str:
    """Return the MLflow store of an experiment."""
    return experiment.tracking.uri or default_uri(storage_folder(experiment))


def connect(address: str | None) -> None:
    """Join the Ray cluster at ``address`` (or at RAY_ADDRESS), or start one on this machine.

    Raises:
        UserError: If there is no cluster at the address.
    """
    # A result without the study's metric (no episode has ended yet) is no reason to stop.
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    # Tune's new reporter writes to standard output even when silent; that is for results.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options |= {"include_dashboard": False}
    try:
        ray.init(address=address, **options)
    except ConnectionError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"no Ray cluster at {address or 'RAY_ADDRESS'}: {reason}") from error


def run_study(
    experiment: Experiment,
    *,
    resume: bool = False,
    address: str | None = None,
    console: Console | None = None,
) -> StudyResult:
    """Train every trial of an experiment: one for each seed, and of each swept configuration.

    Args:
        experiment: What to run.
        resume: Continue the newest study of this name instead of starting one.
        address: Ray cluster; None starts one on this machine, or joins the one that RAY_ADDRESS
            names.
        console: Where progress is shown; None is silent.

    Raises:
        UserError: If there is nothing to resume or no cluster to join, or the skills of the model
            cannot be used.
    """
    if isinstance(experiment.model, HierarchicalSection):
        # Skills that do not fit are refused before anything is written.
        hierarchical_config(experiment.model, experiment.task_config())
    found = reopen(experiment) if resume else None
    if found is not None and not tune.Tuner.can_restore(str(found.path)):
        raise UserError(f"{found.path}: too little was saved to resume; start the study again")
    uri = tracking_uri(experiment)
    # A store that cannot be used is an error now, not a warning in the middle of the night.
    open_store(uri, experiment.name, storage_folder(experiment)).close()
    connect(address)
    study = found or create(experiment)
    count = trial_count(experiment)
    metric, _ = metric_of(experiment)
    tracker = _tracker(experiment, study, with_parent=count > 1)
    progress = ProgressCallback(
        experiment.train.env_steps * count, count, metric, console or Console(quiet=True)
    )
    build = _restored_tuner if resume else _new_tuner
    tuner = build(experiment, study, [tracker, progress])
    previous = signal.signal(signal.SIGTERM, _exit)  # so that runs end as KILLED, not RUNNING
    try:
        results = tuner.fit()
    finally:
        tracker.close()
        signal.signal(signal.SIGTERM, previous)
    outcomes = [_outcome(result, tracker) for result in results]
    return StudyResult(experiment, study.path, uri, tracker.parent_run_id, outcomes)


def _exit(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


def trial_count(experiment: Experiment) -> int:
    """Return how many trials an experiment has."""
    sweep = experiment.sweep
    if sweep is None or sweep.search_name == "random":
        return len(draw_cases(experiment))
    return sweep.samples * len(experiment.seeds)


def _new_tuner(
    experiment: Experiment, study: StudyFolder, callbacks: list[tune.Callback]
) -> tune.Tuner:
    config = {
        "experiment": {**experiment.to_dict(), "sweep": None},
        "cpus": _cpus_per_trial(experiment),
        "git_commit": git_commit(),  # here: trials run in folders of their own
        **_space(experiment),
    }
    return tune.Tuner(
        Trial,
        param_space=config,
        tune_config=_tune_config(experiment),
        run_config=_run_config(experiment, study.path, callbacks),
    )


def _restored_tuner(
    experiment: Experiment, study: StudyFolder, callbacks: list[tune.Callback]
) -> tune.Tuner:
    tuner = tune.Tuner.restore(str(study.path), Trial, resume_unfinished=True, resume_errored=True)
    # The pickled callbacks lack terminal and store; these take over their saved state.
    tuner._local_tuner.get_run_config().callbacks = callbacks
    return tuner


def _describe(trial: Any) -> TrialInfo:
    """Describe a trial for tracking, with every setting resolved."""
    assignment, seed = trial_case(trial.config)
    params: dict[str, Any] = trial_experiment(trial.config).flat()
    params = {key: value for key, value in params.items() if key != "seeds"}
    return TrialInfo(
        run_name(assignment, seed),
        {**params, "seed": seed},
        {"stridelab.assignment": run_name(assignment) or "baseline", "stridelab.seed": str(seed)},
    )


def _tracker(experiment: Experiment, study: StudyFolder, *, with_parent: bool) -> MlflowCallback:
    parent = ParentRun(study.path.name, experiment.flat()) if with_parent else None
    return MlflowCallback(
        tracking_uri(experiment),
        experiment.name,
        storage_folder(experiment),
        sweep_id=study.sweep_id,
        parent=parent,
        experiment_yaml=experiment.to_yaml(),
        describe=_describe,
        system_metrics=experiment.tracking.system_metrics,
    )


def _cpus_per_trial(experiment: Experiment) -> float:
    """Take every core for a single run, one for each of several, unless the file says."""
    resources = experiment.resources
    if resources.cpus_per_trial is not None:
        return resources.cpus_per_trial
    # A trial's process lies on one node, so the largest one counts, not all of them together.
    cores = max(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    runners = resources.env_runners * resources.cpus_per_runner
    return max(1.0, cores - runners) if trial_count(experiment) == 1 else 1.0


def _space(experiment: Experiment) -> dict[str, Any]:
    sweep = experiment.sweep
    if sweep is None or sweep.search_name == "random":
        return {"case": tune.grid_search(draw_cases(experiment))}
    return {"assignment": sweep.space.to_tune(), "seeds": list(experiment.seeds)}


def _tune_config(experiment: Experiment) -> tune.TuneConfig:
    metric, mode = metric_of(experiment)
    sweep = experiment.sweep
    searched = sweep is not None and sweep.search_name == "optuna"
    return tune.TuneConfig(
        metric=metric,
        mode=mode,
        scheduler=_scheduler(experiment),
        search_alg=_searcher(experiment) if searched else None,
        num_samples=sweep.samples * len(experiment.seeds) if searched and sweep else 1,
        max_concurrent_trials=experiment.resources.max_concurrent_trials,
        trial_dirname_creator=lambda trial: str(trial.trial_id),
    )


def _searcher(experiment: Experiment) -> Searcher:
    """Return Optuna; it sees the mean over the seeds of a configuration."""
    from ray.tune.search.optuna import OptunaSearch

    sweep = experiment.sweep
    assert sweep is not None
    metric, mode = metric_of(experiment)
    search = OptunaSearch(metric=metric, mode=mode, seed=sweep.search_seed, **sweep.search_args)
    return Repeater(search, repeat=len(experiment.seeds))


def _scheduler(experiment: Experiment) -> TrialScheduler:
    from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

    sweep = experiment.sweep
    if sweep is None or sweep.scheduler_name == "fifo":
        return FIFOScheduler()
    args = dict(sweep.scheduler_args)
    if sweep.scheduler_name == "asha":
        per_iteration = experiment.task.num_envs * experiment.algorithm.num_steps_per_env
        iterations = math.ceil(experiment.train.env_steps / per_iteration)
        return ASHAScheduler(time_attr="training_iteration", **{"max_t": iterations, **args})
    return MedianStoppingRule(time_attr="training_iteration", **args)


def _run_config(
    experiment: Experiment, folder: Path, callbacks: list[tune.Callback]
) -> tune.RunConfig:
    train = experiment.train
    return tune.RunConfig(
        name=folder.name,
        storage_path=str(folder.parent),
        callbacks=callbacks,
        failure_config=tune.FailureConfig(max_failures=experiment.resources.max_failures),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=train.keep_checkpoints,
            checkpoint_frequency=train.checkpoint_every,
            checkpoint_at_end=True,
        ),
        verbose=0,
    )


def _outcome(result: tune.Result, tracker: MlflowCallback) -> Outcome:
    metrics = result.metrics or {}
    assignment, seed = trial_case(result.config or {})
    return Outcome(
        assignment=assignment,
        seed=seed,
        label=run_name(assignment) or "baseline",
        metrics=metrics,
        curves=_curves(result),
        checkpoint=Path(result.checkpoint.path) if result.checkpoint else None,
        run_id=tracker.run_ids.get(metrics.get("trial_id", "")),
        error=str(result.error).strip().splitlines()[-1] if result.error else None,
    )


def _curves(result: tune.Result) -> dict[str, Curve]:
    frame = result.metrics_dataframe
    curves: dict[str, Curve] = {}
    for name in PLOTTED:
        if frame is None or name not in frame:
            continue
        # Steps repeated after a restart from a checkpoint: the later result counts.
        kept = frame.dropna(subset=[name]).drop_duplicates("env_steps", keep="last")
        kept = kept.sort_values("env_steps")
        curves[name] = (kept["env_steps"].to_numpy(float), kept[name].to_numpy(float))
    return curves
