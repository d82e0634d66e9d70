"""A scheduler that judges configurations by all their seeds, not trials one by one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from stridelab.tuning.seed_search import AGGREGATES, configuration_key


@dataclass
class _Configuration:
    """The seeds of one configuration; the first trial stands for all before the scheduler."""

    trials: list[TuneTrial] = field(default_factory=list)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    """Trial id to iteration to score, for the iterations not yet judged."""
    reached: dict[str, int] = field(default_factory=dict)
    """Trial id to its last iteration."""
    judged: list[tuple[int, float]] = field(default_factory=list)
    """What the scheduler has seen: iteration and score over the seeds."""
    stopped: bool = False

    @property
    def last_judged(self) -> int:
        """The last judged iteration, 0 for none."""
        return self.judged[-1][0] if self.judged else 0

    def reached_by_all(self) -> int:
        """Return the iteration that every seed which runs at present has reached."""
        running = [t.trial_id for t in self.trials if t.status == TuneTrial.RUNNING]
        return min((self.reached.get(trial_id, 0) for trial_id in running), default=0)


class SeedScheduler(FIFOScheduler):
    """Lets ASHA or the median rule stop configurations by one score over their seeds.

    At each milestone a configuration is judged once: when every seed that runs has come that far.
    Seeds that have not started hold nothing up, so few machines still save time; when a
    configuration is stopped they never start.

    Args:
        scheduler: Judges; it sees one trial for each configuration.
        aggregate: A name of ``AGGREGATES``.
        milestones: Iterations at which it judges, ascending.
    """

    def __init__(
        self, scheduler: TrialScheduler, *, aggregate: str, milestones: Sequence[int]
    ) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.aggregate = aggregate
        self.milestones = list(milestones)
        self._metric = ""
        self._configurations: dict[str, _Configuration] = {}
        self._earlier: dict[str, dict[str, Any]] = {}  # from an earlier process, not yet seen
        self._doomed: list[TuneTrial] = []  # seeds that came when all was decided

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take over the metric."""
        self._metric = metric or ""
        return bool(self.scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Meet a trial: new, tried again after a failure, or of a resumed study."""
        key = _key(trial)
        configuration = self._configurations.setdefault(key, _Configuration())
        if any(known.trial_id == trial.trial_id for known in configuration.trials):
            return
        configuration.trials.append(trial)
        if len(configuration.trials) == 1:
            self.scheduler.on_trial_add(tune_controller, trial)
        earlier = self._earlier.pop(key, None)
        if earlier is not None:
            configuration.stopped = earlier["stopped"]
            for iteration, score in earlier["judged"]:  # decided then, only remembered now
                self._judge(tune_controller, configuration, iteration, score)
        if configuration.stopped:
            self._doomed.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """Drop the seeds of configurations that have been stopped, then go by turns."""
        while self._doomed:
            trial = self._doomed.pop()
            if trial.status in (TuneTrial.PENDING, TuneTrial.PAUSED):
                tune_controller.stop_trial(trial)
        chosen: TuneTrial | None = super().choose_trial_to_run(tune_controller)
        return chosen

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> str:
        """Note a score and judge the configuration where all of its seeds have one."""
        configuration = self._configurations[_key(trial)]
        if configuration.stopped:
            return TrialScheduler.STOP
        self._note(configuration, trial, result)
        decision = self._catch_up(tune_controller, configuration)
        if decision == TrialScheduler.STOP:
            configuration.stopped = True
            for other in configuration.trials:
                if other is not trial and other.status in (TuneTrial.PENDING, TuneTrial.PAUSED):
                    tune_controller.stop_trial(other)
            return decision
        # Only the reporting trial would pause, and the other seeds wait for it in vain.
        return decision if len(configuration.trials) == 1 else TrialScheduler.CONTINUE

    def on_trial_complete(
        self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        """Note the last score, which others are compared with."""
        configuration = self._configurations[_key(trial)]
        if not configuration.stopped:
            self._note(configuration, trial, result)
            self._catch_up(tune_controller, configuration)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A trial that never ran tells nothing."""

    def debug_string(self) -> str:
        """Say what the scheduler says."""
        return f"Judging {len(self._configurations)} configurations by their seeds. " + str(
            self.scheduler.debug_string()
        )

    def get_state(self) -> dict[str, Any]:
        """Return what has been judged, for a resumed study; Ray does not keep schedulers."""
        judged = {
            key: {"judged": list(found.judged), "stopped": found.stopped}
            for key, found in self._configurations.items()
        }
        return {"configurations": {**self._earlier, **judged}}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what an earlier process has judged; trials are added afterwards."""
        self._earlier = dict(state["configurations"])

    def _note(
        self, configuration: _Configuration, trial: TuneTrial, result: dict[str, Any]
    ) -> None:
        value, iteration = result.get(self._metric), result.get(TRAINING_ITERATION)
        if iteration is None:
            return
        configuration.reached[trial.trial_id] = int(iteration)
        if isinstance(value, int | float) and math.isfinite(value):
            configuration.scores.setdefault(trial.trial_id, {})[int(iteration)] = float(value)

    def _catch_up(self, tune_controller: Any, configuration: _Configuration) -> str:
        """Judge what all running seeds have come to."""
        ready = configuration.reached_by_all()
        waiting = sorted({t for scores in configuration.scores.values() for t in scores})
        decision = TrialScheduler.CONTINUE
        for iteration in waiting:
            if iteration > ready:
                break
            found = [
                scores.pop(iteration)
                for scores in configuration.scores.values()
                if iteration in scores
            ]
            passed = bisect_right(self.milestones, iteration)
            due = passed > bisect_right(self.milestones, configuration.last_judged)
            if due and decision != TrialScheduler.STOP:
                score = AGGREGATES[self.aggregate](np.array(found))
                decision = self._judge(tune_controller, configuration, iteration, score)
        return decision

    def _judge(
        self, tune_controller: Any, configuration: _Configuration, iteration: int, score: float
    ) -> str:
        configuration.judged.append((iteration, score))
        result = {TRAINING_ITERATION: iteration, self._metric: score}
        return str(self.scheduler.on_trial_result(tune_controller, configuration.trials[0], result))


class SchedulerState(Callback):
    """Saves what a scheduler has judged with the study, which Ray by itself does not."""

    def __init__(self, scheduler: SeedScheduler) -> None:
        self.scheduler = scheduler

    def get_state(self) -> dict[str, Any]:
        """Return the scheduler's state."""
        return self.scheduler.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Give the scheduler its state back."""
        self.scheduler.set_state(state)


def _key(trial: TuneTrial) -> str:
    return configuration_key(trial.config["case"]["assignment"])
