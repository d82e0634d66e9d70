"""What Tune does not watch over: time budget, unfinished and unbegun trials, new resources."""

from __future__ import annotations

import signal
import time
from typing import Any

from ray.tune import Callback


class StudyWatch(Callback):
    """Stops a study when its time is used up, in such a way that it can be resumed.

    Args:
        time_budget_s: Time for this start of the study [s]; None for no end.
        resources: Of a resumed study what its file says now: the ``resources`` section as plain
            data and ``cpus`` of a trial. The trials that are to go on get it.
    """

    def __init__(
        self, time_budget_s: float | None, resources: tuple[dict[str, Any], float] | None = None
    ) -> None:
        self.time_budget_s = time_budget_s
        self.unfinished: set[str] = set()
        """Ids of the trials that were to go on when the study last looked."""
        self.is_over = False
        """Whether the time budget has stopped the study."""
        self._resources = resources
        self._started_at = time.monotonic()

    def setup(self, **info: Any) -> None:
        """Start the clock."""
        self._started_at = time.monotonic()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Before the first trial starts, change those that are to go on."""
        if self._resources is None:
            return
        (resources, cpus), self._resources = self._resources, None
        for trial in trials:
            if not trial.is_finished():
                experiment = {**trial.config["experiment"], "resources": resources}
                trial.set_config({**trial.config, "experiment": experiment, "cpus": cpus})
                trial.create_placement_group_factory()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Look at the clock."""
        self.unfinished = {trial.trial_id for trial in trials if not trial.is_finished()}
        if self.time_budget_s is None or self.is_over or not self.unfinished:
            return
        caught = callable(signal.getsignal(signal.SIGUSR1))  # not where Tune runs in a thread
        if caught and time.monotonic() - self._started_at > self.time_budget_s:
            self.is_over = True
            # Tune takes this signal as the wish to stop and to be resumed; its own time budget
            # would end the trials for good.
            signal.raise_signal(signal.SIGUSR1)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Give trials that never started a folder: Tune cannot tell of trials without one."""
        for trial in trials:
            trial.init_local_path()
