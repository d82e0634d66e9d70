"""Runs of the tracking store in groups: the seeds of one configuration stand together."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from stridelab.tracking.client import connect
from stridelab.tracking.outbox import one_line
from stridelab.tracking.provenance import without_password
from stridelab.tracking.runs import RunRecord, find_runs, metric_history
from stridelab.tracking.trials import run_name
from stridelab_envs.errors import UserError, unknown_name

# As stridelab.tracking.callback and stridelab.tuning.study write them; both take Ray to import.
STUDY_TAG = "stridelab.sweep_id"
KIND_TAG = "stridelab.kind"
ASSIGNMENT_TAG = "stridelab.assignment"
SEED_TAG = "stridelab.seed"
BASELINE = "baseline"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class History:
    """A metric of one run while it trained; all ``(points,)``, in the order of the steps."""

    steps: Floats
    """Environment steps."""
    seconds: Floats
    """Time since the start of the run [s]; pauses of a resumed run do not count."""
    values: Floats
    """The metric."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run."""

    run_id: str
    name: str
    seed: str
    score: float
    """Last value of the compared metric."""
    metrics: dict[str, float]
    """Last finite value of every metric."""
    params: dict[str, str]
    history: History


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one configuration."""

    label: str
    """What tells the configuration from the others shown."""
    experiment: str
    study: str
    """Study (sweep) of the runs, ``""`` for runs that another tool logged."""
    assignment: str
    """What the study changed, as text."""
    is_baseline: bool
    """Whether this is what its study changed nothing of, beside configurations with changes."""
    runs: tuple[Run, ...]

    @property
    def scores(self) -> Floats:
        """Score of each run, ``(runs,)``."""
        return np.array([run.score for run in self.runs], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Collection:
    """All that is compared."""

    title: str
    metric: str
    curve_metric: str
    """Metric of the histories: the compared one, or what was logged all along in its place."""
    groups: tuple[Group, ...]
    notes: tuple[str, ...]
    """What was left out or replaced, a sentence each."""


@dataclass(frozen=True)
class _Found:
    """A run of the store with the name of its experiment."""

    experiment: str
    record: RunRecord

    @property
    def study(self) -> str:
        return self.record.tags.get(STUDY_TAG, "")

    @property
    def assignment(self) -> str:
        """What was changed, as text; the name of a run that does not say."""
        tag = self.record.tags.get(ASSIGNMENT_TAG)
        if tag is None:
            return self.record.name
        if tag.startswith("{"):  # the form of stridelab.tracking.trials.describe_trial
            return run_name(json.loads(tag)) or BASELINE
        return tag or BASELINE

    @property
    def metrics(self) -> dict[str, float]:
        return {name: v for name, v in self.record.metrics.items() if math.isfinite(v)}


def collect(
    uri: str,
    targets: Sequence[str],
    metric: str,
    *,
    within: str | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Collection:
    """Read finished runs and group them by configuration.

    Args:
        uri: MLflow tracking URI.
        targets: Names of experiments or studies, or ids of runs; a study's parent run stands for
            its trials. A name that is both an experiment's and a study's is the experiment's.
            Without any, the experiment that ran last.
        metric: Metric to compare.
        within: Experiment that holds the targets; looked for in all by default.
        on_progress: Told what is being read.

    Raises:
        UserError: If the store cannot be read, a target is unknown, none of its runs has
            finished, or no run logged the metric.
    """
    store = _Reader(uri, within, on_progress)
    found = {run.record.run_id: run for target in targets for run in store.find(target)}
    if not targets:
        found = {run.record.run_id: run for run in store.newest()}
    title = ", ".join(targets) or next(iter(found.values())).experiment
    parents = {run.record.parent_run_id for run in found.values()}
    trials = [
        run
        for run in found.values()
        if run.record.tags.get(KIND_TAG) != "sweep" and run.record.run_id not in parents
    ]
    finished = _finished(trials, title)
    scored = _scored(finished, metric)
    curve_metric = _curve_metric(scored, metric)
    groups = _groups(scored, metric, lambda run: store.history(run, curve_metric))
    notes = _notes(trials, finished, scored, metric, curve_metric)
    return Collection(
        title=title,
        metric=metric,
        curve_metric=curve_metric,
        groups=groups,
        notes=(*notes, *_mixed(groups)),
    )


class _Reader:
    """The store; each experiment is read once."""

    def __init__(self, uri: str, within: str | None, on_progress: Callable[[str], None]) -> None:
        database = Path(uri.removeprefix("sqlite:///"))
        if uri.startswith("sqlite:///") and not database.is_file():  # MLflow would make one
            raise UserError(f"{database}: no runs yet; `make demo` or `stridelab train` makes some")
        self._uri = uri
        self._on_progress = on_progress
        self._runs: dict[str, list[_Found]] = {}
        try:
            experiments = connect(uri).search_experiments(max_results=1000)
        except (MlflowException, OSError) as error:
            raise UserError(f'tracking uri "{without_password(uri)}": {one_line(error)}') from error
        names = [experiment.name for experiment in experiments]
        self._names = [name for name in names if within in (None, name)]

    def find(self, target: str) -> list[_Found]:
        """Return the runs that a target names."""
        if target in self._names:
            if runs := self._of(target):
                return runs
            raise UserError(f'experiment "{target}" has no runs')
        everything = self._everything()
        runs = [
            run
            for run in everything
            if target in (run.study, run.record.run_id, run.record.parent_run_id)
        ]
        if not runs:
            known = {run.experiment for run in everything} | {run.study for run in everything}
            raise UserError(unknown_name("experiment, study or run", target, known - {""}))
        return runs

    def newest(self) -> list[_Found]:
        """Return the runs of the experiment that ran last."""
        runs = self._everything()
        if not runs:
            raise UserError(f"{without_password(self._uri)}: no runs yet")
        return self._of(max(runs, key=lambda run: run.record.start_time).experiment)

    def history(self, record: RunRecord, metric: str) -> History:
        """Read a metric of a run against steps and time."""
        self._on_progress(f"reading {record.name}")
        points = metric_history(self._uri, record.run_id, metric)
        clock = metric_history(self._uri, record.run_id, "time_total_s")
        seconds = points.times - record.start_time
        if len(clock.steps):
            # Training time goes on where it stopped when a run is resumed; the calendar does not.
            seconds = np.interp(points.steps, clock.steps, clock.values)
        kept = np.isfinite(points.values)
        return History(
            steps=points.steps[kept].astype(np.float64),
            seconds=seconds[kept],
            values=points.values[kept],
        )

    def _of(self, experiment: str) -> list[_Found]:
        if experiment not in self._runs:
            self._on_progress(f"reading {experiment}")
            records = find_runs(self._uri, experiment)
            self._runs[experiment] = [_Found(experiment, record) for record in records]
        return self._runs[experiment]

    def _everything(self) -> list[_Found]:
        return [run for name in self._names for run in self._of(name)]


def _finished(trials: list[_Found], title: str) -> list[_Found]:
    finished = [run for run in trials if run.record.status == "FINISHED"]
    if not finished:
        raise UserError(f"{title}: no finished runs{_counted(trials)}")
    return finished


def _counted(runs: list[_Found]) -> str:
    """Return how many runs there are of each status, in brackets."""
    counts = Counter(run.record.status for run in runs)
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f" ({listed})" if listed else ""


def _scored(finished: list[_Found], metric: str) -> list[_Found]:
    scored = [run for run in finished if metric in run.metrics]
    if not scored:
        known = {name for run in finished for name in run.metrics}
        raise UserError(unknown_name("metric", metric, known))
    return scored


def _curve_metric(runs: list[_Found], metric: str) -> str:
    """Return the metric to draw against time: ``eval/...`` is logged only once, at the end."""
    if not metric.startswith("eval/"):
        return metric
    name = metric.removeprefix("eval/")
    logged = {other for run in runs for other in run.metrics}
    choices = (f"episode/{name}", f"metric/{name}", "episode/return")
    return next((choice for choice in choices if choice in logged), metric)


def _notes(
    trials: list[_Found],
    finished: list[_Found],
    scored: list[_Found],
    metric: str,
    curve_metric: str,
) -> list[str]:
    notes = []
    if others := [run for run in trials if run.record.status != "FINISHED"]:
        notes.append(f"{len(others)} of {len(trials)} runs have not finished{_counted(others)}.")
    if missing := len(finished) - len(scored):
        notes.append(f"{missing} of {len(finished)} finished runs never logged {metric}.")
    if curve_metric != metric:
        notes.append(f"{metric} is measured at the end only: curves show {curve_metric}.")
    return notes


def _mixed(groups: tuple[Group, ...]) -> list[str]:
    """Name groups whose runs were not made with the same settings."""
    notes = []
    for group in groups:
        names = sorted({name for run in group.runs for name in run.params} - {"seed"})
        differ = [n for n in names if len({run.params.get(n) for run in group.runs}) > 1]
        if differ:
            more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
            notes.append(f"Runs of {group.label} differ in {', '.join(differ[:3])}{more}.")
    return notes


def _groups(
    runs: list[_Found], metric: str, history: Callable[[RunRecord], History]
) -> tuple[Group, ...]:
    members: dict[tuple[str, str, str], list[Run]] = {}
    for found in runs:
        record = found.record
        run = Run(
            run_id=record.run_id,
            name=record.name,
            seed=record.tags.get(SEED_TAG, record.params.get("seed", "")),
            score=found.metrics[metric],
            metrics=found.metrics,
            params=record.params,
            history=history(record),
        )
        members.setdefault((found.experiment, found.study, found.assignment), []).append(run)
    sizes = Counter((experiment, study) for experiment, study, _ in members)
    names = Counter(study for _, study in sizes)
    groups = []
    for (experiment, study, assignment), group in members.items():
        alone = sizes[experiment, study] == 1
        place = f"{experiment}/{study}" if study and names[study] > 1 else study or experiment
        if alone and assignment == BASELINE:
            label = place
        else:
            label = assignment if len(sizes) == 1 else f"{place}: {assignment}"
        groups.append(
            Group(
                label=label,
                experiment=experiment,
                study=study,
                assignment=assignment,
                is_baseline=assignment == BASELINE and not alone,
                runs=tuple(group),
            )
        )
    return tuple(groups)
