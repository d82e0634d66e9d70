"""Trials as they ended, read back from Tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray import tune

from stridelab.tracking.trials import run_name
from stridelab.tuning.trial import trial_case

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Environment steps and values, each ``(num_results,)``."""
PLOTTED = ("episode/return", "episode/length")
"""Metrics that get a learning curve."""


@dataclass(frozen=True)
class Outcome:
    """One trial as it ended."""

    assignment: dict[str, Any]
    """Swept values, dotted key to value."""
    seed: int
    label: str
    """The assignment as text, the same for all seeds."""
    metrics: dict[str, Any]
    """The last result."""
    curves: dict[str, Curve]
    """Environment steps and values there, for each metric of :data:`PLOTTED` that was logged."""
    checkpoint: Path | None
    """Folder of the last checkpoint."""
    run_id: str | None
    """MLflow run."""
    error: str | None
    """What stopped the trial, None if it finished."""


def outcome_of(result: tune.Result, run_ids: Mapping[str, str]) -> Outcome:
    """Return what came out of a trial; ``run_ids`` holds the MLflow run of each trial id."""
    metrics = result.metrics or {}
    assignment, seed = trial_case(result.config or {})
    return Outcome(
        assignment=assignment,
        seed=seed,
        label=run_name(assignment) or "baseline",
        metrics=metrics,
        curves=_curves(result),
        checkpoint=Path(result.checkpoint.path) if result.checkpoint else None,
        run_id=run_ids.get(metrics.get("trial_id", "")),
        error=str(result.error).strip().splitlines()[-1] if result.error else None,
    )


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
