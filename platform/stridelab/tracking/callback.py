"""The Tune callback that records a sweep in MLflow: one parent run, one child a trial."""

from __future__ import annotations

import atexit
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import ray.util
from ray.tune import Callback

from stridelab.tracking.names import (
    MAX_TAG_VALUE,
    as_number,
    clean_key,
    clean_params,
    flatten,
    shorten,
)
from stridelab.tracking.provenance import git_diff, provenance_tags
from stridelab.tracking.store import Store, open_store
from stridelab.tracking.trials import TrialInfo, describe_trial
from stridelab_envs.errors import UserError

logger = logging.getLogger(__name__)

SWEEP_TAG = "stridelab.sweep_id"
TRIAL_TAG = "stridelab.trial_id"
KIND_TAG = "stridelab.kind"  # "sweep" or "trial"
ERROR_TAG = "stridelab.error"

_Hook = TypeVar("_Hook", bound=Callable[..., None])


@dataclass(frozen=True)
class ParentRun:
    """The run that stands for the whole sweep.

    Attributes:
        run_name: Name shown in the MLflow UI.
        params: Nested or dotted parameters, for example the whole experiment.
        tags: Further tags.
    """

    run_name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _TrialRun:
    """What the callback knows of a trial's run; saved with the Tune experiment."""

    run_id: str
    params: dict[str, str]  # as last recorded, under the names MLflow stores
    tags: dict[str, str] = field(default_factory=dict)  # of the trial's description, as recorded
    last_step: int = -1  # env_steps of the last recorded result
    status: str = "RUNNING"
    failures: int = 0


def _never_raises(hook: _Hook) -> _Hook:
    """Turn every error of a hook into a warning: tracking must not end a training run."""

    @functools.wraps(hook)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            hook(*args, **kwargs)
        except Exception:
            logger.warning("tracking: %s failed", hook.__name__, exc_info=True)

    return guarded  # type: ignore[return-value]


class MlflowCallback(Callback):
    """Records every trial of a Tune experiment as an MLflow run.

    Runs are continued, not made again, after ``Tuner.restore``: their ids are part of the state
    that Tune saves, and a run missing there is found by its tags ``stridelab.sweep_id`` and
    ``stridelab.trial_id``. Results up to the last recorded ``env_steps`` are skipped, so that a
    trial that repeats work from its checkpoint leaves no point twice. A parameter that changes
    while a trial runs (population based training) becomes the metric ``hp/<name>``.

    Args:
        uri: MLflow tracking URI.
        experiment_name: MLflow experiment.
        storage_path: Where sweeps are stored; see :func:`stridelab.tracking.store.open_store`.
        sweep_id: Names this sweep among all of the experiment, and stays the same when it is
            resumed, for example the name of the Tune experiment folder.
        parent: Settings of the parent run; None for no parent run.
        experiment_yaml: Text of the experiment file, stored as ``experiment.yaml`` with each run.
        describe: Gives a trial's run name, parameters and tags.
        system_metrics: Whether to add CPU and memory use of the driver's machine to the results
            of the trials that run on it.
    """

    def __init__(
        self,
        uri: str,
        experiment_name: str,
        storage_path: str | Path,
        *,
        sweep_id: str,
        parent: ParentRun | None = None,
        experiment_yaml: str = "",
        describe: Callable[[Any], TrialInfo] = describe_trial,
        system_metrics: bool = True,
    ) -> None:
        self.uri = uri
        self.experiment_name = experiment_name
        self.storage_path = str(storage_path)
        self.sweep_id = sweep_id
        self.parent = parent
        self.experiment_yaml = experiment_yaml
        self.describe = describe
        self.system_metrics = system_metrics
        self._parent_run_id: str | None = None
        self._runs: dict[str, _TrialRun] = {}  # by trial id
        self._live: set[str] = set()  # trials whose run was opened by this process
        self._seen: dict[str, int] = {}  # by trial id, what of its config has been looked at
        self._store: Store | None = None
        self._provenance: dict[str, str] = {}
        self._diff = ""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles the callback with the Tuner; connections stay behind.
        return {**self.__dict__, "_store": None, "_live": set()}

    @property
    def parent_run_id(self) -> str | None:
        """MLflow id of the parent run, None without one or before the sweep started."""
        return self._resolve(self._parent_run_id) if self._parent_run_id else None

    @property
    def run_ids(self) -> dict[str, str]:
        """MLflow run id of each trial id."""
        return {trial_id: self._resolve(run.run_id) for trial_id, run in self._runs.items()}

    def get_state(self) -> dict[str, Any]:
        """Return what a restored sweep needs to go on with the same runs."""
        return {
            "parent_run_id": self.parent_run_id,
            "runs": {
                trial_id: {**asdict(run), "run_id": self._resolve(run.run_id)}
                for trial_id, run in self._runs.items()
            },
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier process."""
        self._parent_run_id = state["parent_run_id"]
        self._runs = {trial_id: _TrialRun(**run) for trial_id, run in state["runs"].items()}

    @_never_raises
    def setup(self, *args: Any, **info: Any) -> None:
        """Open the store and the parent run; without a store nothing is recorded."""
        try:
            self._store = open_store(self.uri, self.experiment_name, self.storage_path)
        except UserError as error:
            logger.error("tracking is off: %s", error)
            return
        self._provenance, self._diff = provenance_tags(), git_diff()
        atexit.register(self.close)
        psutil.cpu_percent()  # the first call only sets the start of the measured interval
        if self.parent is not None:
            self._open_parent(self._store, self.parent)

    @_never_raises
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Open or continue the trial's run."""
        self._open(trial)

    @_never_raises
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record one result, in one request."""
        run = self._open(trial)
        if self._store is None or run is None:
            return
        step = as_number(result.get("env_steps"))
        if step is None:
            logger.warning('tracking: trial %s reported no "env_steps"; left out', trial.trial_id)
            return
        if step <= run.last_step:
            return
        metrics = {**result, **self._changes(trial, run)}
        if self.system_metrics and _runs_here(result):
            metrics |= _system_metrics()
        self._store.log_metrics(run.run_id, metrics, int(step))
        run.last_step = int(step)

    @_never_raises
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the run of a trial that finished or was stopped by a scheduler."""
        if trial.trial_id in self._runs:  # a trial stopped before it started leaves no run
            self._finish(trial, "FINISHED")

    @_never_raises
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End the run of a trial that failed for good, with the error as a tag."""
        run = self._open(trial)
        if self._store is not None and run is not None:
            self._store.set_tags(run.run_id, {ERROR_TAG: _error_text(trial)})
        self._finish(trial, "FAILED")

    @_never_raises
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note a failure after which Tune tries the trial again; the run goes on."""
        run = self._open(trial)
        if self._store is None or run is None:
            return
        run.failures += 1
        tags = {"stridelab.failures": run.failures, "stridelab.last_failure": _error_text(trial)}
        self._store.set_tags(run.run_id, tags)

    @_never_raises
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Send spooled records, and end trials that a stopper of the whole sweep has stopped."""
        if self._store is None:
            return
        self._store.flush()
        for trial in trials:  # Tune calls no hook for those
            if trial.trial_id in self._live and trial.status == "TERMINATED":
                self._finish(trial, "FINISHED")

    @_never_raises
    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """End the parent run, and as KILLED what an interrupt left running."""
        self.close()

    @_never_raises
    def close(self, status: str = "KILLED") -> None:
        """End every run of the sweep that is still RUNNING with ``status``; may be called twice.

        The parent gets ``status`` as well when a trial was left, FAILED when all trials failed,
        otherwise FINISHED.
        """
        if self._store is None:
            return
        store, self._store = self._store, None
        atexit.unregister(self.close)
        left = sorted(self._live)
        for trial_id in left:
            self._runs[trial_id].status = status
            store.finish(self._runs[trial_id].run_id, status)
        self._live.clear()
        # Trials of a killed process that Tune no longer knows are found by their tags only.
        for run_id in store.running({SWEEP_TAG: self.sweep_id, KIND_TAG: "trial"}):
            store.finish(run_id, status)
        if self._parent_run_id is not None:
            store.finish(self._parent_run_id, status if left else self._outcome())
        store.close()
        self._keep_resolved(store)

    def _outcome(self) -> str:
        statuses = {run.status for run in self._runs.values()}
        return "FAILED" if statuses == {"FAILED"} else "FINISHED"

    def _resolve(self, run_id: str) -> str:
        return self._store.resolve(run_id) if self._store is not None else run_id

    def _keep_resolved(self, store: Store) -> None:
        for run in self._runs.values():
            run.run_id = store.resolve(run.run_id)
        if self._parent_run_id is not None:
            self._parent_run_id = store.resolve(self._parent_run_id)

    def _open_parent(self, store: Store, parent: ParentRun) -> None:
        if not _continue(store, self._parent_run_id):
            self._parent_run_id = store.create_run(
                parent.run_name,
                {**self._provenance, **parent.tags},
                identity={SWEEP_TAG: self.sweep_id, KIND_TAG: "sweep"},
            )
        assert self._parent_run_id is not None
        known = store.snapshot(self._parent_run_id)
        if known is None or not known.params:
            store.log_params(self._parent_run_id, parent.params)
            self._log_files(store, self._parent_run_id, self._diff)

    def _log_files(self, store: Store, run_id: str, diff: str) -> None:
        if self.experiment_yaml:
            store.log_text(run_id, self.experiment_yaml, "experiment.yaml")
        if diff:
            store.log_text(run_id, diff, "git.diff")

    def _open(self, trial: Any) -> _TrialRun | None:
        """Return the trial's run, opened by this process; None without a store."""
        if self._store is None or trial.trial_id in self._live:
            return self._runs.get(trial.trial_id)
        info = self.describe(trial)
        params = clean_params(info.params)
        run = self._continue_or_create(self._store, trial.trial_id, info)
        known = self._store.snapshot(run.run_id)
        if known is not None:
            run.params = {**known.params, **run.params}
            run.last_step = max(run.last_step, known.env_steps)
        new = {name: value for name, value in params.items() if name not in run.params}
        if new:
            self._store.log_params(run.run_id, new)
            run.params |= new
        if known is None or not known.params:
            self._log_files(self._store, run.run_id, "" if self.parent else self._diff)
        if run.status == "FAILED":
            self._store.set_tags(run.run_id, {ERROR_TAG: ""})
        run.status = "RUNNING"
        self._runs[trial.trial_id] = run
        self._live.add(trial.trial_id)
        return run

    def _continue_or_create(self, store: Store, trial_id: str, info: TrialInfo) -> _TrialRun:
        run = self._runs.get(trial_id) or _TrialRun("", {}, dict(info.tags))
        if not _continue(store, run.run_id or None):
            run.run_id = store.create_run(
                info.run_name,
                {**self._provenance, KIND_TAG: "trial", **info.tags},
                parent_run_id=self._parent_run_id,
                identity={SWEEP_TAG: self.sweep_id, TRIAL_TAG: trial_id},
            )
        return run

    def _changes(self, trial: Any, run: _TrialRun) -> dict[str, float]:
        """Return numeric parameters that changed as metrics; others, and tags, are set as tags."""
        seen = hash(repr(trial.config))  # describing a trial costs more than a look
        if self._seen.get(trial.trial_id) == seen:
            return {}
        self._seen[trial.trial_id] = seen
        info = self.describe(trial)
        raw = flatten(info.params)
        names = {clean_key(name): name for name in raw}
        now = clean_params(raw)
        changed = {name: text for name, text in now.items() if run.params.get(name) != text}
        run.params |= changed
        if run.last_step < 0:
            changed |= {name: now[name] for name in map(clean_key, info.varying) if name in now}
        numbers = {name: as_number(raw[names[name]]) for name in changed}
        tags = {f"stridelab.hp.{name}": changed[name] for name, v in numbers.items() if v is None}
        tags |= {name: text for name, text in info.tags.items() if run.tags.get(name) != text}
        run.tags |= info.tags
        if tags and self._store is not None:
            self._store.set_tags(run.run_id, tags)
        return {f"hp/{name}": value for name, value in numbers.items() if value is not None}

    def _finish(self, trial: Any, status: str) -> None:
        run = self._open(trial)
        if self._store is None or run is None:
            return
        run.status = status
        self._store.finish(run.run_id, status)
        self._live.discard(trial.trial_id)


def _continue(store: Store, run_id: str | None) -> bool:
    """Set a run known from saved state to RUNNING; False when it cannot be seen."""
    if run_id is None or store.run_status(run_id) is None:
        return False
    store.reopen(run_id)
    return True


def _error_text(trial: Any) -> str:
    """Return the end of the trial's last error; Tune appends one text per failure to a file."""
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).is_file() else ""
    text = text or trial.get_error() or "unknown error"
    return shorten(text.rpartition("Failure #")[2].strip(), MAX_TAG_VALUE, keep_end=True)


def _runs_here(result: Mapping[str, Any]) -> bool:
    return result.get("node_ip") in (None, ray.util.get_node_ip_address())


def _system_metrics() -> dict[str, float]:
    """Return CPU use since the last call [%] and used memory [GB] of this machine."""
    return {
        "system/cpu_percent": psutil.cpu_percent(),
        "system/memory_gb": psutil.virtual_memory().used / 1e9,
    }
