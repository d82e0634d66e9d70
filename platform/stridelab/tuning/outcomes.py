"""Trials as they ended, read back from Tune."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import fs
from ray import tune

from stridelab.tracking.trials import run_name
from stridelab.tuning.seed_search import configuration_key
from stridelab.tuning.trial import POLICY_FOLDER, trial_case, trial_experiment

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Environment steps and values, each ``(num_results,)``."""
PLOTTED = ("episode/return", "episode/length")
"""Metrics that get a learning curve."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint where Tune keeps it."""

    path: str
    """Path on :attr:`filesystem`."""
    filesystem: fs.FileSystem
    env_steps: int

    def policy(self) -> Path:
        """Return a local folder with the policy bundle, fetched from an object store if need be."""
        folder = PurePosixPath(self.path, POLICY_FOLDER).as_posix()
        if isinstance(self.filesystem, fs.LocalFileSystem):
            return Path(folder)
        local = tempfile.mkdtemp(prefix="stridelab-policy-")
        fs.copy_files(folder, local, source_filesystem=self.filesystem)
        return Path(local)


@dataclass(frozen=True)
class Outcome:
    """One trial as it ended."""

    assignment: dict[str, Any]
    """Swept values, dotted key to value; of a population the last ones."""
    seed: int
    label: str
    """The configuration as text, the same for all seeds."""
    metrics: dict[str, Any]
    """The last result."""
    curves: dict[str, Curve]
    """Environment steps and values there, for each metric of :data:`PLOTTED` that was logged."""
    checkpoint: Checkpoint | None
    """The last checkpoint."""
    run_id: str | None
    """MLflow run."""
    error: str | None
    """What stopped the trial, None if it finished."""
    configuration: str = ""
    """Equal for the seeds of one configuration, and for no other trials."""
    best_checkpoint: Checkpoint | None = None
    """The best of the kept checkpoints by the study's metric, else the last."""
    is_unfinished: bool = False
    """Whether the study was stopped before the trial ended."""
    is_full_length: bool = True
    """Whether the trial trained as long as it was to, and no scheduler stopped it."""

    def after(self, earlier: Outcome) -> Outcome:
        """Return this outcome with the curves of the stage before it, up to where it began."""
        start = _first_step(self.curves)
        curves = {}
        for name, (steps, values) in self.curves.items():
            if name not in earlier.curves:
                curves[name] = (steps, values)
                continue
            before_steps, before_values = earlier.curves[name]
            kept = before_steps < start
            curves[name] = (
                np.concatenate([before_steps[kept], steps]),
                np.concatenate([before_values[kept], values]),
            )
        return replace(self, curves=curves)


def outcome_of(
    result: tune.Result,
    config: Mapping[str, Any],
    *,
    run_ids: Mapping[str, str],
    metric: str,
    mode: str,
    unfinished: Collection[str] = (),
) -> Outcome:
    """Return what came out of a trial.

    Args:
        result: From Tune.
        config: The trial's own; a result has none of a trial that never reported.
        run_ids: MLflow run of each trial id.
        metric: By which the best checkpoint is chosen.
        mode: ``max`` or ``min``.
        unfinished: Ids of trials that were to go on when the study was stopped.
    """
    metrics = result.metrics or {}
    assignment, seed = trial_case(config)
    steps = int(metrics.get("env_steps", 0)) - start_steps(config)
    trial_id = str(metrics.get("trial_id", ""))
    return Outcome(
        assignment=assignment,
        seed=seed,
        label=label_of(config),
        metrics=metrics,
        curves=_curves(result),
        checkpoint=_checkpoint(result.checkpoint, metrics),
        run_id=run_ids.get(trial_id),
        error=str(result.error).strip().splitlines()[-1] if result.error else None,
        configuration=configuration_key(
            {"assignment": assignment, "member": config["case"].get("member")}
        ),
        best_checkpoint=_best(result, metric, mode) or _checkpoint(result.checkpoint, metrics),
        is_unfinished=not result.error and (not metrics or trial_id in unfinished),
        is_full_length=bool(metrics) and steps >= trial_experiment(config).train.env_steps,
    )


def label_of(config: Mapping[str, Any]) -> str:
    """Return a trial's configuration as text, the same for all of its seeds."""
    case = config["case"]
    if "member" in case:  # of a population: its values change
        return f"member {case['member']}"
    return run_name(case["assignment"]) or "baseline"


def title_of(config: Mapping[str, Any]) -> str:
    """Return a trial's name: its stage, its configuration where several are compared, its seed."""
    configuration = label_of(config) if config.get("compared") else ""
    words = [config.get("stage", ""), configuration, f"seed={config['case']['seed']}"]
    return " ".join(word for word in words if word)


def start_steps(config: Mapping[str, Any]) -> int:
    """Return how many environment steps lie before a trial: those of the stages before."""
    return int(config["case"].get("start", {}).get("env_steps", 0))


def _checkpoint(found: Any, metrics: Mapping[str, Any]) -> Checkpoint | None:
    if found is None:
        return None
    return Checkpoint(str(found.path), found.filesystem, int(metrics.get("env_steps", 0)))


def _best(result: tune.Result, metric: str, mode: str) -> Checkpoint | None:
    """Return the best of the checkpoints that Tune has kept."""
    scored = [
        (float(metrics[metric]), checkpoint, metrics)
        for checkpoint, metrics in result.best_checkpoints or []
        if np.isfinite(metrics.get(metric, np.nan))
    ]
    if not scored:
        return None
    pick = max if mode == "max" else min
    _, checkpoint, metrics = pick(scored, key=lambda entry: entry[0])
    return _checkpoint(checkpoint, metrics)


def _curves(result: tune.Result) -> dict[str, Curve]:
    frame = result.metrics_dataframe
    curves: dict[str, Curve] = {}
    for name in PLOTTED:
        if frame is None or name not in frame:
            continue
        # Steps repeated after a restart from a checkpoint: the later result counts.
        kept = frame.dropna(subset=[name]).drop_duplicates("env_steps", keep="last")
        kept = kept.sort_values("env_steps")
        curves[name] = (kept["env_steps"].to_numpy(float), kept[name].to_numpy(float))
    return curves


def _first_step(curves: Mapping[str, Curve]) -> float:
    return min((float(steps[0]) for steps, _ in curves.values() if len(steps)), default=np.inf)
