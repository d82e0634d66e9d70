"""From an experiment to Tune's ``Tuner``, new or restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from stridelab.experiment import Experiment
from stridelab.tracking.provenance import git_commit
from stridelab.tuning.cases import Case, draw_cases
from stridelab.tuning.forget import ForgetAverages
from stridelab.tuning.schedulers import build_scheduler, build_search
from stridelab.tuning.seed_scheduler import SchedulerState, SeedScheduler
from stridelab.tuning.storage import StorageFolder
from stridelab.tuning.trial import Trial

_KEPT_BY_POPULATIONS = 4
"""Least number of kept checkpoints where trials copy each other's: one may be late."""


@dataclass(frozen=True)
class Stage:
    """What one Tune run trains: the whole of a study, or one of its stages."""

    experiment: Experiment
    """As it is in this stage, with its sweep or ablation."""
    folder: StorageFolder
    """Where Tune keeps it."""
    name: str = ""
    """Name of the stage; empty for a study without stages."""
    cases: tuple[Case, ...] | None = None
    """The trials; None where the study begins and they are drawn or searched."""
    keeps_best: bool = False
    """Whether the next stage starts from the best checkpoint."""

    @property
    def is_searched(self) -> bool:
        """Whether a search algorithm chooses the values while the study runs."""
        sweep = self.experiment.sweep
        return self.cases is None and sweep is not None and sweep.search_name != "random"

    @property
    def trial_count(self) -> int:
        """Number of trials."""
        sweep = self.experiment.sweep
        if sweep is not None and self.is_searched:
            return (sweep.samples + sweep.baseline) * len(self.experiment.seeds)
        return len(draw_cases(self.experiment) if self.cases is None else self.cases)


def metric_of(experiment: Experiment) -> tuple[str, str]:
    """Return the metric by which trials are compared, and ``max`` or ``min``."""
    section = experiment.sweep or experiment.ablation
    return (section.metric, section.mode) if section else ("episode/return", "max")


def can_restore(stage: Stage) -> bool:
    """Whether enough was saved of a stage to go on with it."""
    folder = stage.folder
    return bool(tune.Tuner.can_restore(folder.ray_path, folder.ray_filesystem))


def new_tuner(stage: Stage, callbacks: Sequence[tune.Callback]) -> tune.Tuner:
    """Return the Tuner of a stage that begins."""
    config = {
        "experiment": stage.experiment.single(),
        "cpus": cpus_per_trial(stage),
        "compared": stage.experiment.is_sweep,
        "git_commit": git_commit(),  # here: trials run in folders of their own
    }
    if stage.name:
        config["stage"] = stage.name
    if not stage.is_searched:
        cases = draw_cases(stage.experiment) if stage.cases is None else list(stage.cases)
        config["case"] = tune.grid_search(cases)
    scheduler = build_scheduler(stage.experiment)
    return tune.Tuner(
        Trial,
        param_space=config,
        tune_config=_tune_config(stage, scheduler),
        run_config=_run_config(stage, [*callbacks, *_state_of(scheduler), ForgetAverages()]),
    )


def restored_tuner(stage: Stage, callbacks: Sequence[tune.Callback]) -> tune.Tuner:
    """Return the Tuner of a stage that was interrupted."""
    folder = stage.folder
    tuner = tune.Tuner.restore(
        folder.ray_path,
        Trial,
        resume_unfinished=True,
        resume_errored=True,
        storage_filesystem=folder.ray_filesystem,
    )
    scheduler = build_scheduler(stage.experiment)
    # The pickled callbacks lack terminal, store and scheduler; these take over their saved state,
    # by their places in the list.
    local = tuner._local_tuner
    local.get_run_config().callbacks = [*callbacks, *_state_of(scheduler), ForgetAverages()]
    local._tune_config.scheduler = scheduler
    local._tune_config.max_concurrent_trials = stage.experiment.resources.max_concurrent
    return tuner


def cpus_per_trial(stage: Stage) -> float:
    """Take every core for a single run, one for each of several, unless the file says."""
    resources = stage.experiment.resources
    if resources.cpus_per_trial is not None:
        return resources.cpus_per_trial
    # A trial's process lies on one node, so the largest one counts, not all of them together.
    cores = max(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    runners = resources.env_runners * resources.cpus_per_runner
    return max(1.0, cores - runners) if stage.trial_count == 1 else 1.0


def _state_of(scheduler: TrialScheduler) -> list[tune.Callback]:
    return [SchedulerState(scheduler)] if isinstance(scheduler, SeedScheduler) else []


def _tune_config(stage: Stage, scheduler: TrialScheduler) -> tune.TuneConfig:
    metric, mode = metric_of(stage.experiment)
    sweep = stage.experiment.sweep
    return tune.TuneConfig(
        metric=metric,
        mode=mode,
        scheduler=scheduler,
        search_alg=build_search(stage.experiment) if stage.is_searched else None,
        num_samples=stage.trial_count if stage.is_searched else 1,
        max_concurrent_trials=stage.experiment.resources.max_concurrent,
        # Trials that change their values, or wait for others, start again many times.
        reuse_actors=sweep is not None and sweep.scheduler_name in ("pbt", "pb2", "hyperband"),
        trial_dirname_creator=lambda trial: str(trial.trial_id),
    )


def _run_config(stage: Stage, callbacks: list[Any]) -> tune.RunConfig:
    train, sweep = stage.experiment.train, stage.experiment.sweep
    metric, mode = metric_of(stage.experiment)
    keep = train.keep_checkpoints
    if sweep is not None and sweep.is_population:
        keep = max(keep, _KEPT_BY_POPULATIONS)
    # What is measured in the end only cannot order the checkpoints before.
    scored = stage.keeps_best and not metric.startswith("eval/")
    return tune.RunConfig(
        name=stage.folder.name,
        storage_path=_parent(stage.folder.ray_path),
        storage_filesystem=stage.folder.ray_filesystem,
        callbacks=callbacks,
        failure_config=tune.FailureConfig(max_failures=stage.experiment.resources.max_failures),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=keep,
            checkpoint_score_attribute=metric if scored else None,
            checkpoint_score_order=mode,
            checkpoint_frequency=train.checkpoint_every,
            checkpoint_at_end=True,
        ),
        verbose=0,
    )


def _parent(address: str) -> str:
    base, question, query = address.partition("?")
    return base.rpartition("/")[0] + question + query
