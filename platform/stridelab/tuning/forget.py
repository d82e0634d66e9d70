"""What the driver need not remember of trials that have ended."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback


class ForgetAverages(Callback):
    """Drops Tune's running statistics of each metric once a trial has ended.

    Tune keeps six numbers and two windows of every metric of every trial, about 2 kB each, as long
    as the driver lives, and writes them into each snapshot. Nothing here reads them: scores come
    from the trials' own results.
    """

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the statistics of a trial that finished or was stopped."""
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the statistics of a trial that failed for good."""
        self._forget(trial)

    def _forget(self, trial: Any) -> None:
        trial.run_metadata.metric_analysis = {}
        trial.run_metadata.metric_n_steps = {}
