"""The trials of a study, drawn before it starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stridelab.experiment import Experiment, SearchSpace, SweepSection

Case = dict[str, Any]
"""``assignment`` (dotted key to value) and ``seed``; of a population also ``member``, its number;
in a later stage also ``start``, what it goes on from."""


def draw_cases(experiment: Experiment) -> list[Case]:
    """List every trial of an experiment whose values are not chosen by a searcher.

    Each of ``samples`` draws runs through all combinations of the grids; each configuration runs
    under every seed. Equal ``search_seed`` gives equal draws.
    """
    sweep = experiment.sweep
    if sweep is not None and sweep.is_population:
        [seed] = experiment.seeds
        population = _population(sweep, experiment.flat())
        return [
            {"assignment": assignment, "seed": seed, "member": member}
            for member, assignment in enumerate(population)
        ]
    return [
        {"assignment": assignment, "seed": seed}
        for assignment in _assignments(experiment)
        for seed in experiment.seeds
    ]


def _assignments(experiment: Experiment) -> list[dict[str, Any]]:
    sweep = experiment.sweep
    if sweep is None:
        return [{}, *({key: None} for key in experiment.switches)]
    flat = experiment.flat()
    drawn = list(_drawn(sweep))
    # What the file says already is a baseline where it is among the draws.
    if sweep.baseline and not any(_says(flat, assignment) for assignment in drawn):
        drawn.insert(0, {})
    return drawn


def _drawn(sweep: SweepSection) -> Iterator[dict[str, Any]]:
    space = sweep.space
    random = np.random.RandomState(sweep.search_seed)
    for _ in range(sweep.samples):
        point = space.draw(random)
        tried: list[dict[str, Any]] = []
        for numbers in itertools.product(*(range(len(g.values)) for g in space.grids.values())):
            assignment = space.decode({**point, **dict(zip(space.grids, numbers, strict=True))})
            if assignment not in tried:  # what is off hides the differences below it
                tried.append(assignment)
                yield assignment


def _population(sweep: SweepSection, flat: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Draw the members' first values; the first one starts from what the file says, if allowed."""
    space = sweep.space
    random = np.random.RandomState(sweep.search_seed)
    points = [space.draw(random) for _ in range(sweep.samples)]
    if sweep.baseline:
        points[0] |= _own_point(space, flat)
    return [space.decode(point) for point in points]


def _own_point(space: SearchSpace, flat: Mapping[str, Any]) -> dict[str, float]:
    point: dict[str, float] = {}
    for key in space.keys:
        value = _value(flat, key)
        if value is not None:
            try:
                point |= SearchSpace({key: space.spaces[key]}).encode({key: value})
            except ValueError:
                continue
    return point


def _says(flat: Mapping[str, Any], assignment: Mapping[str, Any]) -> bool:
    """Whether an assignment changes nothing of the file."""
    return all(_value(flat, key) == value for key, value in assignment.items())


def _value(flat: Mapping[str, Any], key: str) -> Any:
    return flat.get(key, flat.get(f"{key}.preset"))
