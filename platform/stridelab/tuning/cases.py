"""The trials of a sweep, drawn before it starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from stridelab.experiment import Experiment

Case = dict[str, Any]
"""``assignment`` (dotted key to value) and ``seed``."""


def draw_cases(experiment: Experiment) -> list[Case]:
    """List every trial of an experiment whose values are not chosen by a searcher.

    Each of ``samples`` draws runs through all combinations of the grids; each configuration runs
    under every seed. Equal ``search_seed`` gives equal draws.
    """
    return [
        {"assignment": assignment, "seed": seed}
        for assignment in _assignments(experiment)
        for seed in experiment.seeds
    ]


def _assignments(experiment: Experiment) -> Iterator[dict[str, Any]]:
    sweep = experiment.sweep
    if sweep is None:
        yield {}
        return
    if sweep.baseline:
        yield {}
    spaces = sweep.space.spaces
    random = np.random.RandomState(sweep.search_seed)
    for _ in range(sweep.samples):
        drawn = {
            key: space.to_tune(grid=False).sample(random_state=random)
            for key, space in spaces.items()
            if not space.is_grid
        }
        grids = {key: space.values for key, space in spaces.items() if space.is_grid}
        for combination in itertools.product(*grids.values()):
            chosen = {**drawn, **dict(zip(grids, combination, strict=True))}
            yield {key: _plain(chosen[key]) for key in spaces}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
