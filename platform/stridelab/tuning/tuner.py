"""From an experiment to Tune's ``Tuner``, new or restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from stridelab.experiment import Experiment
from stridelab.tracking.provenance import git_commit
from stridelab.tuning.cases import draw_cases
from stridelab.tuning.folder import StudyFolder
from stridelab.tuning.schedulers import build_scheduler, build_search
from stridelab.tuning.seed_scheduler import SchedulerState, SeedScheduler
from stridelab.tuning.trial import Trial


def metric_of(experiment: Experiment) -> tuple[str, str]:
    """Return the metric by which trials are compared, and ``max`` or ``min``."""
    sweep = experiment.sweep
    return (sweep.metric, sweep.mode) if sweep else ("episode/return", "max")


def trial_count(experiment: Experiment) -> int:
    """Return how many trials an experiment has."""
    sweep = experiment.sweep
    if sweep is None or not _is_searched(experiment):
        return len(draw_cases(experiment))
    return (sweep.samples + sweep.baseline) * len(experiment.seeds)


def new_tuner(
    experiment: Experiment, study: StudyFolder, callbacks: Sequence[tune.Callback]
) -> tune.Tuner:
    """Return the Tuner of a study that begins."""
    config = {
        "experiment": {**experiment.to_dict(), "sweep": None},
        "cpus": cpus_per_trial(experiment),
        "git_commit": git_commit(),  # here: trials run in folders of their own
    }
    if not _is_searched(experiment):
        config["case"] = tune.grid_search(draw_cases(experiment))
    scheduler = build_scheduler(experiment)
    return tune.Tuner(
        Trial,
        param_space=config,
        tune_config=_tune_config(experiment, scheduler),
        run_config=_run_config(experiment, study, [*callbacks, *_state_of(scheduler)]),
    )


def restored_tuner(
    experiment: Experiment, study: StudyFolder, callbacks: Sequence[tune.Callback]
) -> tune.Tuner:
    """Return the Tuner of a study that was interrupted."""
    tuner = tune.Tuner.restore(str(study.path), Trial, resume_unfinished=True, resume_errored=True)
    scheduler = build_scheduler(experiment)
    # The pickled callbacks lack terminal, store and scheduler; these take over their saved state.
    tuner._local_tuner.get_run_config().callbacks = [*callbacks, *_state_of(scheduler)]
    tuner._local_tuner._tune_config.scheduler = scheduler
    return tuner


def cpus_per_trial(experiment: Experiment) -> float:
    """Take every core for a single run, one for each of several, unless the file says."""
    resources = experiment.resources
    if resources.cpus_per_trial is not None:
        return resources.cpus_per_trial
    # A trial's process lies on one node, so the largest one counts, not all of them together.
    cores = max(float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    runners = resources.env_runners * resources.cpus_per_runner
    return max(1.0, cores - runners) if trial_count(experiment) == 1 else 1.0


def _is_searched(experiment: Experiment) -> bool:
    """Whether a search algorithm chooses the values while the study runs."""
    return experiment.sweep is not None and experiment.sweep.search_name != "random"


def _state_of(scheduler: TrialScheduler) -> list[tune.Callback]:
    return [SchedulerState(scheduler)] if isinstance(scheduler, SeedScheduler) else []


def _tune_config(experiment: Experiment, scheduler: TrialScheduler) -> tune.TuneConfig:
    metric, mode = metric_of(experiment)
    searched = _is_searched(experiment)
    return tune.TuneConfig(
        metric=metric,
        mode=mode,
        scheduler=scheduler,
        search_alg=build_search(experiment) if searched else None,
        num_samples=trial_count(experiment) if searched else 1,
        max_concurrent_trials=experiment.resources.max_concurrent_trials,
        trial_dirname_creator=lambda trial: str(trial.trial_id),
    )


def _run_config(experiment: Experiment, study: StudyFolder, callbacks: list[Any]) -> tune.RunConfig:
    train = experiment.train
    return tune.RunConfig(
        name=study.path.name,
        storage_path=str(study.path.parent),
        callbacks=callbacks,
        failure_config=tune.FailureConfig(max_failures=experiment.resources.max_failures),
        checkpoint_config=tune.CheckpointConfig(
            num_to_keep=train.keep_checkpoints,
            checkpoint_frequency=train.checkpoint_every,
            checkpoint_at_end=True,
        ),
        verbose=0,
    )
