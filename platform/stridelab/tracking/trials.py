"""How a Tune trial is shown as an MLflow run: its name, parameters and tags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stridelab.tracking.names import flatten, shorten_to_differ

# Sections that describe the sweep, not the trial; they are recorded on the parent run.
SWEEP_SECTIONS = frozenset({"sweep", "seeds"})
_MAX_RUN_NAME = 200


@dataclass(frozen=True)
class TrialInfo:
    """What is recorded of one trial when its run is opened.

    Attributes:
        run_name: Name shown in the MLflow UI.
        params: Nested or dotted parameters; a value that differs later becomes a metric
            ``hp/<name>``.
        tags: Further tags of the run; those that change later are set anew.
        varying: Names of parameters that are to change while the trial runs: the first values
            become metrics ``hp/<name>`` as well, so that their curves are whole.
    """

    run_name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    varying: tuple[str, ...] = ()


def describe_trial(trial: Any) -> TrialInfo:
    """Describe a Tune trial whose config is ``{"experiment", "assignment", "seed"}``.

    ``experiment`` is the plain dict of the experiment, ``assignment`` maps dotted names to the
    values drawn for this trial, ``seed`` is an int. All three may be missing.
    """
    config = trial.config
    assignment = dict(config.get("assignment") or {})
    seed = config.get("seed")
    params = flatten(
        {k: v for k, v in (config.get("experiment") or {}).items() if k not in SWEEP_SECTIONS}
    )
    params.update(flatten(assignment))
    tags = {"stridelab.assignment": json.dumps(assignment, sort_keys=True, default=str)}
    if seed is not None:
        params["seed"] = seed
        tags["stridelab.seed"] = str(seed)
    return TrialInfo(run_name(assignment, seed) or str(trial.trial_id), params, tags)


def run_name(assignment: Mapping[str, Any], seed: int | None = None) -> str:
    """Return a readable run name such as ``rewards=v7 without push learning_rate=0.0003 seed=1``.

    Args:
        assignment: Dotted parameter names and the values of this run.
        seed: Seed of the run, or None to leave it out.
    """
    words = [
        f"without {short}" if value is None else f"{short}={_short_value(value)}"
        for short, value in zip(_short_keys(assignment), assignment.values(), strict=True)
    ]
    if seed is not None:
        words.append(f"seed={seed}")
    return shorten_to_differ(" ".join(words), _MAX_RUN_NAME)


def _short_keys(keys: Iterable[str]) -> list[str]:
    """Shorten each dotted key to the fewest last parts that no other key ends in."""
    split = [key.split(".") for key in keys]
    return [_shortest_unique_end(parts, split) for parts in split]


def _shortest_unique_end(parts: list[str], others: list[list[str]]) -> str:
    for count in range(1, len(parts)):
        end = parts[-count:]
        if sum(other[-count:] == end for other in others) == 1:
            return ".".join(end)
    return ".".join(parts)


def _short_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return shorten_to_differ(value, 40)
    return shorten_to_differ(json.dumps(value, default=str, separators=(",", ":")), 40)
