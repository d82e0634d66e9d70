"""From the ``sweep`` section to Ray's schedulers and search algorithms."""

from __future__ import annotations

import math
from typing import Any

from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from ray.tune.search import Searcher

from stridelab.experiment import Experiment, SearchSpace, SweepSection
from stridelab.experiment.coordinates import Coordinate
from stridelab.tuning.population import pb2, pbt
from stridelab.tuning.seed_scheduler import SeedScheduler
from stridelab.tuning.seed_search import SeedSearch

_TIME = "training_iteration"
_JUDGEMENTS = 100
"""How often the median rule looks at a trial: its cost grows with the square of this."""


def iterations_of(experiment: Experiment) -> int:
    """Return how many iterations a trial trains."""
    per_iteration = experiment.task.num_envs * experiment.algorithm.num_steps_per_env
    return math.ceil(experiment.train.env_steps / per_iteration)


def build_scheduler(experiment: Experiment) -> TrialScheduler:
    """Return the scheduler of an experiment, without metric and mode."""
    sweep = experiment.sweep
    if sweep is None or sweep.scheduler_name == "fifo":
        return FIFOScheduler()
    iterations, args = iterations_of(experiment), sweep.scheduler_args
    match sweep.scheduler_name:
        case "asha":
            return _asha(sweep, iterations)
        case "median_stopping":
            return _median_stopping(sweep, iterations)
        case "hyperband":
            return ResumableHyperBand(time_attr=_TIME, **{"max_t": iterations, **args})
        case "pbt":
            return pbt(sweep, iterations)
    return pb2(sweep, iterations)


def _asha(sweep: SweepSection, iterations: int) -> SeedScheduler:
    args = {"max_t": iterations, **sweep.scheduler_args}
    args["max_t"] = max(args["max_t"], args.get("grace_period", 1))
    scheduler = ASHAScheduler(time_attr=_TIME, **args)
    rungs = {math.ceil(rung) for bracket in scheduler._brackets for rung, _ in bracket._rungs}
    milestones = sorted({*rungs, args["max_t"]})
    return SeedScheduler(scheduler, aggregate=sweep.aggregate, milestones=milestones)


def _median_stopping(sweep: SweepSection, iterations: int) -> SeedScheduler:
    # Ray's own defaults are in seconds, and make trials take turns at every single result.
    defaults = {"grace_period": iterations / 10, "min_time_slice": iterations}
    scheduler = MedianStoppingRule(time_attr=_TIME, **{**defaults, **sweep.scheduler_args})
    step = math.ceil(iterations / _JUDGEMENTS)
    milestones = range(step, iterations + 1, step)
    return SeedScheduler(scheduler, aggregate=sweep.aggregate, milestones=milestones)


class ResumableHyperBand(HyperBandScheduler):
    """HyperBand that a resumed study can go on with."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Leave out trials that have ended: their bracket would wait for them for ever."""
        if not trial.is_finished():
            super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Count a result without the metric (no episode has ended yet) as the worst."""
        worst = -math.inf * float(self._metric_op)
        decision: str = super().on_trial_result(
            tune_controller, trial, {self._metric: worst, **result}
        )
        return decision


def build_search(experiment: Experiment) -> SeedSearch:
    """Return the search algorithm of a sweep that does not draw all values beforehand."""
    from ray.tune.search.optuna import OptunaSearch

    sweep = experiment.sweep
    assert sweep is not None
    search: Searcher = OptunaSearch(
        space=_distributions(sweep.space),
        metric=sweep.metric,
        mode=sweep.mode,
        seed=sweep.search_seed,
        **sweep.search_args,
    )
    return SeedSearch(
        search,
        sweep.space,
        experiment.seeds,
        aggregate=sweep.aggregate,
        metric=sweep.metric,
        mode=sweep.mode,
        baseline=sweep.baseline,
    )


def _distributions(space: SearchSpace) -> dict[str, Any]:
    """Return Optuna's distribution of each coordinate."""
    from optuna import distributions

    def distribution(axis: Coordinate) -> Any:
        if axis.kind == "category":
            return distributions.CategoricalDistribution(range(round(axis.high) + 1))
        if axis.kind == "integer":
            return distributions.IntDistribution(int(axis.low), int(axis.high))
        return distributions.FloatDistribution(axis.low, axis.high, log=axis.kind == "log")

    return {name: distribution(axis) for name, axis in space.coordinates.items()}
