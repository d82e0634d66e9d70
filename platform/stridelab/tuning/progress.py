"""What a person at the terminal sees while trials run."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stridelab.tuning.outcomes import start_steps, title_of

_PLAIN_INTERVAL = 15.0
"""Time between two lines where the output is no terminal [s]."""


def _steps_of(trial: Any, result: dict[str, Any]) -> int:
    """Return the environment steps of a trial in this stage."""
    return max(0, int(result.get("env_steps", 0)) - start_steps(trial.config))


class ProgressCallback(Callback):
    """A live bar over all environment steps, and a line for each trial that ends.

    Args:
        total_steps: Environment steps of all trials together.
        trials: Number of trials.
        metric: Result shown beside the bar.
        console: Where to write.
        title: Stands before the bar, for example the name of a stage.
    """

    def __init__(
        self, total_steps: int, trials: int, metric: str, console: Console, *, title: str = ""
    ) -> None:
        self.total_steps = total_steps
        self.num_trials = trials
        self._share = total_steps // max(1, trials)
        self.metric = metric
        self.title = title
        self.console = console
        self._progress: Progress | None = None
        self._steps: dict[str, int] = {}
        self._ended = 0
        self._started_at = 0.0
        self._first_steps: dict[str, int] = {}
        self._last_line = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks; a terminal cannot be.
        return {**self.__dict__, "_progress": None, "console": None}

    def setup(self, **info: Any) -> None:
        """Start the clock and, at a terminal, the bar."""
        self._started_at = time.monotonic()
        self._last_line = self._started_at
        if self.console is not None and self.console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self.console,
            )
            self._progress.add_task(self.title or "env steps", total=self.total_steps, note="")
            self._progress.start()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count what a resumed study has done already."""
        if self._steps:
            return
        for known in trials:
            self._steps[known.trial_id] = _steps_of(known, known.last_result or {})
            self._ended += known.status == "TERMINATED"

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Move the bar."""
        steps = _steps_of(trial, result)
        self._steps[trial.trial_id] = steps
        self._first_steps.setdefault(trial.trial_id, steps)
        note = f"{self._rate():,.0f} steps/s"
        if self.metric in result:
            note += f"  {self.metric} {result[self.metric]:.3g}"
        done = sum(self._steps.values())
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, note=note)
        elif time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._last_line = time.monotonic()
            share = 100.0 * done / self.total_steps
            self._print(f"{share:5.1f} %  {done:,} of {self.total_steps:,} env steps  {note}")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say that a trial has finished."""
        self._ended += 1
        # A trial that a scheduler stopped early leaves nothing to wait for.
        self.total_steps -= max(0, self._share - self._steps.get(trial.trial_id, 0))
        result = trial.last_result or {}
        value = f"  {self.metric} {result[self.metric]:.3g}" if self.metric in result else ""
        self._print(f"finished {self._ended}/{self.num_trials}  {title_of(trial.config)}{value}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Say that a trial has failed for good."""
        self._ended += 1
        self._print(f"failed   {self._ended}/{self.num_trials}  {title_of(trial.config)}")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Take the bar down."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _rate(self) -> float:
        """Steps a second of this process, counted from each trial's first result in it."""
        seconds = max(1e-9, time.monotonic() - self._started_at)
        return sum(self._steps[name] - first for name, first in self._first_steps.items()) / seconds

    def _print(self, text: str) -> None:
        if self.console is not None:
            self.console.print(text, highlight=False)
