"""A searcher that sees configurations, not trials: each runs under every seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ray.tune.result import TRAINING_ITERATION
from ray.tune.search import Searcher

from stridelab.evaluation.statistics import Statistic, iqm
from stridelab.experiment import SearchSpace

AGGREGATES: dict[str, Statistic] = {"iqm": iqm, "mean": lambda scores: float(np.mean(scores))}
"""How the scores of the seeds become one, by the names of ``sweep.aggregate``."""


def configuration_key(assignment: Mapping[str, Any]) -> str:
    """Return text that is equal for equal assignments; labels are rounded and may collide."""
    return json.dumps(assignment, sort_keys=True, default=str)


@dataclass
class _Configuration:
    """A suggestion under all of its seeds."""

    name: str
    """Trial id under which the searcher below knows the suggestion."""
    assignment: dict[str, Any]
    waiting: list[int]
    """Seeds without a trial yet."""
    known: bool = True
    """Whether the searcher below suggested it."""
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    """Trial id to iteration to score."""
    running: set[str] = field(default_factory=set)

    def aggregated(self, aggregate: Statistic) -> float | None:
        """Return one score, at the last iteration that every seed with a score has reached."""
        reached = [max(scores) for scores in self.scores.values() if scores]
        if not reached:
            return None
        common = min(reached)
        values = [
            scores[max(t for t in scores if t <= common)]
            for scores in self.scores.values()
            if any(t <= common for t in scores)
        ]
        return aggregate(np.array(values)) if values else None


class SeedSearch(Searcher):
    """Runs every suggestion of a searcher under every seed and reports one score for it.

    Suggestions are whole cases, ``{"case": {"assignment", "seed"}}``, with the values in the terms
    of the experiment. A seed that fails is left out of the score; one that a scheduler stopped
    early counts up to where its companions came.

    Args:
        searcher: Searches ``space.coordinates``.
        space: The search space.
        seeds: Seeds of every configuration.
        aggregate: A name of :data:`AGGREGATES`.
        metric: Result to search by.
        mode: ``max`` or ``min``.
        baseline: Whether the configuration without changes comes first.
    """

    def __init__(
        self,
        searcher: Searcher,
        space: SearchSpace,
        seeds: Sequence[int],
        *,
        aggregate: str,
        metric: str,
        mode: str,
        baseline: bool,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self.searcher = searcher  # the name by which Ray finds and saves it
        self.space = space
        self.seeds = list(seeds)
        self.aggregate = aggregate
        self._configurations: dict[str, _Configuration] = {}  # by trial id
        self._open: _Configuration | None = None
        if baseline:
            self._open = _Configuration("", {}, list(self.seeds), known=False)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next seed of the open configuration, or the first of a new one."""
        if self._open is None or not self._open.waiting:
            point = self.searcher.suggest(trial_id)
            if point is None or point == Searcher.FINISHED:
                result: str | None = point
                return result
            self._open = _Configuration(trial_id, self.space.decode(point), list(self.seeds))
        configuration = self._open
        self._configurations[trial_id] = configuration
        configuration.running.add(trial_id)
        seed = configuration.waiting.pop(0)
        return {"case": {"assignment": configuration.assignment, "seed": seed}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note a score."""
        configuration = self._configurations.get(trial_id)
        if configuration is not None:
            self._note(configuration, trial_id, result)

    def _note(self, configuration: _Configuration, trial_id: str, result: dict[str, Any]) -> None:
        value = result.get(self.metric)
        if isinstance(value, int | float) and math.isfinite(value):
            scores = configuration.scores.setdefault(trial_id, {})
            scores[int(result[TRAINING_ITERATION])] = float(value)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note the last score; after the last seed, tell the searcher."""
        configuration = self._configurations.pop(trial_id, None)
        if configuration is None:  # tried again after its configuration was told
            return
        configuration.running.discard(trial_id)
        if result:
            self._note(configuration, trial_id, result)
        if error:
            configuration.scores.pop(trial_id, None)
        if configuration.running or configuration.waiting or not configuration.known:
            return
        score = configuration.aggregated(AGGREGATES[self.aggregate])
        if score is None:
            self.searcher.on_trial_complete(configuration.name, error=True)
        else:
            self.searcher.on_trial_complete(configuration.name, {self.metric: score})

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed study needs; Ray saves the searcher below by itself."""
        return {"configurations": self._configurations, "open": self._open}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier process."""
        self._configurations, self._open = state["configurations"], state["open"]

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher below."""
        self.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher below."""
        self.searcher.restore(checkpoint_path)
