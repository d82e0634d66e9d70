"""Running an experiment on Ray Tune: start, resume, and what came out."""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console

from stridelab.experiment import Experiment
from stridelab.experiment.sections import HierarchicalSection
from stridelab.skills.module_config import hierarchical_config
from stridelab.tracking.callback import MlflowCallback, ParentRun
from stridelab.tracking.store import default_uri, open_store
from stridelab.tracking.trials import TrialInfo, run_name
from stridelab.tuning.folder import StudyFolder, create, reopen, storage_folder
from stridelab.tuning.outcomes import Outcome, outcome_of
from stridelab.tuning.progress import ProgressCallback
from stridelab.tuning.trial import trial_case, trial_experiment
from stridelab.tuning.tuner import metric_of, new_tuner, restored_tuner, trial_count
from stridelab_envs.errors import UserError


@dataclass(frozen=True)
class StudyResult:
    """All trials of one study."""

    experiment: Experiment
    folder: Path
    """Where Tune keeps the study."""
    tracking_uri: str
    parent_run_id: str | None
    outcomes: list[Outcome]


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
    build = restored_tuner if resume else new_tuner
    tuner = build(experiment, study, [tracker, progress])
    previous = signal.signal(signal.SIGTERM, _exit)  # so that runs end as KILLED, not RUNNING
    try:
        results = tuner.fit()
    finally:
        tracker.close()
        signal.signal(signal.SIGTERM, previous)
    outcomes = [outcome_of(result, tracker.run_ids) for result in results]
    return StudyResult(experiment, study.path, uri, tracker.parent_run_id, outcomes)


def _exit(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


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
