"""Running an experiment on Ray Tune: start, resume, and what came out."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from rich.console import Console

from stridelab.algorithms.ppo.config import taught
from stridelab.experiment import Experiment
from stridelab.experiment.paths import named_file
from stridelab.experiment.sections import HierarchicalSection
from stridelab.export.bundle import load_bundle
from stridelab.skills.module_config import hierarchical_config
from stridelab.tracking.callback import MlflowCallback, ParentRun
from stridelab.tracking.store import default_uri, open_store
from stridelab.tuning.describe import describe_study, describe_trial
from stridelab.tuning.final_errors import final_errors
from stridelab.tuning.folder import StudyFolder, create_study, existing_study
from stridelab.tuning.outcomes import Outcome, outcome_of
from stridelab.tuning.progress import ProgressCallback
from stridelab.tuning.snapshots import SnapshotKeeper, mend
from stridelab.tuning.stages import going_on, stages_of, with_earlier_curves
from stridelab.tuning.storage import StorageFolder, check_nodes_see, open_storage
from stridelab.tuning.tuner import (
    Stage,
    can_restore,
    cpus_per_trial,
    metric_of,
    new_tuner,
    restored_tuner,
)
from stridelab.tuning.watch import StudyWatch
from stridelab_envs.errors import UserError


@dataclass(frozen=True)
class StudyResult:
    """All trials of one study."""

    experiment: Experiment
    folder: StorageFolder
    """Where Tune keeps the study."""
    tracking_uri: str
    parent_run_id: str | None
    outcomes: list[Outcome]
    """The trials; with stages those of the last one reached, with the curves before it."""
    earlier: list[Outcome] = field(default_factory=list)
    """The trials of the stages before."""
    stopped: str = ""
    """Why the study was stopped before its end: ``time budget`` or ``interrupt``."""


def tracking_uri(experiment: Experiment) -> str:
    """Return the MLflow store of an experiment."""
    return experiment.tracking.uri or default_uri(storage_address(experiment))


def storage_address(experiment: Experiment) -> str:
    """Return where all results of an experiment go: an absolute path or an address."""
    return open_storage(experiment.resources.storage_path).address


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
        resume: Continue the newest study of this name, whatever ``on_existing`` says.
        address: Ray cluster; None starts one on this machine, or joins the one that RAY_ADDRESS
            names.
        console: Where progress is shown; None is silent.

    Raises:
        UserError: If there is nothing to resume, no cluster to join, the storage path is not
            visible everywhere, or a policy that the experiment names cannot be used.
    """
    # What does not fit is refused before anything is written.
    for part in [experiment.stage(stage) for stage in experiment.stages] or [experiment]:
        _check_bundles(part)
    found = existing_study(experiment, resume=resume)
    if found is None and experiment.train.start_from is not None:
        load_bundle(named_file(experiment.train.start_from))
    # A store that cannot be used is an error now, not a warning in the middle of the night.
    uri = tracking_uri(experiment)
    open_store(uri, experiment.name, storage_address(experiment)).close()
    connect(address)
    check_nodes_see(open_storage(experiment.resources.storage_path))
    study = found or create_study(experiment)
    run = _StudyRun(experiment, study, console or Console(quiet=True))
    previous = signal.signal(signal.SIGTERM, _exit)  # so that runs end as KILLED, not RUNNING
    try:
        return run.run()
    finally:
        signal.signal(signal.SIGTERM, previous)


def _check_bundles(experiment: Experiment) -> None:
    """Refuse skills and teachers that are missing or do not fit the task."""
    task = experiment.task_config()
    if isinstance(experiment.model, HierarchicalSection):
        hierarchical_config(experiment.model, task)
    taught(task, experiment.algorithm)


def _exit(signum: int, frame: Any) -> None:
    sys.exit(128 + signum)


class _StudyRun:
    """Runs the stages of a study one after the other."""

    def __init__(self, experiment: Experiment, study: StudyFolder, console: Console) -> None:
        self.experiment = experiment
        self.study = study
        self.console = console
        self.started_at = time.monotonic()
        self.parent_run_id: str | None = None
        self.stopped = ""

    def run(self) -> StudyResult:
        """Go through all stages; one that has ended is only read."""
        stages = stages_of(self.experiment, self.study)
        earlier: list[Outcome] = []
        outcomes: list[Outcome] = []
        for index, stage in enumerate(stages):
            if index:
                ready = going_on(stage, stages[index - 1], outcomes)
                if self.stopped or not ready.cases:
                    break
                before, stage = outcomes, ready
                earlier += before
                outcomes = with_earlier_curves(self.run_stage(stage), before)
            else:
                outcomes = self.run_stage(stage)
        return StudyResult(
            self.experiment,
            self.study.folder,
            tracking_uri(self.experiment),
            self.parent_run_id,
            outcomes,
            earlier,
            self.stopped,
        )

    def run_stage(self, stage: Stage) -> list[Outcome]:
        """Train the trials of one stage, or what is left of them."""
        metric, mode = metric_of(self.experiment)
        mend(stage.folder)
        goes_on = can_restore(stage)
        tracker = self._tracker(stage)
        watch = self._watch(stage, goes_on)
        progress = ProgressCallback(
            stage.experiment.train.env_steps * stage.trial_count,
            stage.trial_count,
            metric,
            self.console,
            title=stage.name,
        )
        build = restored_tuner if goes_on else new_tuner
        tuner: tune.Tuner = build(stage, [tracker, progress, watch, SnapshotKeeper(stage.folder)])
        try:
            with final_errors():
                results = tuner.fit()
        finally:
            tracker.close()
        if watch.unfinished:
            self.stopped = "time budget" if watch.is_over else "interrupt"
        self.parent_run_id = tracker.parent_run_id
        return [
            outcome_of(
                result,
                trial.config,
                run_ids=tracker.run_ids,
                metric=metric,
                mode=mode,
                unfinished=watch.unfinished,
            )
            for trial, result in zip(results._experiment_analysis.trials, results, strict=True)
        ]

    def _watch(self, stage: Stage, goes_on: bool) -> StudyWatch:
        resources = stage.experiment.resources
        budget = resources.time_budget_s
        if budget is not None:
            budget = max(0.0, budget - (time.monotonic() - self.started_at))
        settings = (resources.model_dump(), cpus_per_trial(stage)) if goes_on else None
        return StudyWatch(budget, settings)

    def _tracker(self, stage: Stage) -> MlflowCallback:
        experiment = self.experiment
        with_parent = bool(experiment.stages) or stage.trial_count > 1
        tags = describe_study(experiment)
        parent = ParentRun(self.study.name, experiment.flat(), tags) if with_parent else None
        return MlflowCallback(
            tracking_uri(experiment),
            experiment.name,
            storage_address(experiment),
            sweep_id=self.study.sweep_id,
            parent=parent,
            experiment_yaml=experiment.to_yaml(),
            describe=describe_trial,
            system_metrics=experiment.tracking.system_metrics,
        )
