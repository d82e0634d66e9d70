"""How much each swept parameter matters: permutation importance of a random forest.

A forest learns the score from the parameters, one row a configuration. Shuffling one parameter
among the rows that a tree has not seen makes the tree's error grow (Breiman, "Random Forests",
Machine Learning 45, 2001). Half of that growth over the variance of the scores estimates the
parameter's total Sobol index: the share of the variance that it causes, alone and together with
others (Gregorutti, Michel and Saint-Pierre, "Correlation and variable importance in random
forests", Statistics and Computing 27, 2017). It is an estimate from few rows, it knows nothing of
values outside the sweep, and parameters that were not drawn independently share their importance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stridelab.compare.collect import Group
from stridelab.evaluation.statistics import iqm

MIN_CONFIGURATIONS = 8
"""With fewer rows a tree sees about five of them: nothing can be learned."""
_TREES = 200
_WEAK_FIT = 0.3

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ParameterImportance:
    """What one parameter does to the score."""

    name: str
    importance: float
    """Estimated share of the variance of the scores; noise may make it a little negative."""
    trend: str
    """Where better scores lie, in words."""


@dataclass(frozen=True, kw_only=True)
class StudyImportance:
    """The parameters of one study, the most important first."""

    study: str
    configurations: int
    parameters: tuple[ParameterImportance, ...]
    """Empty where nothing can be said; ``note`` tells why."""
    fit: float
    """R² of the forest on rows it has not seen; NaN without a forest."""
    note: str


def study_importance(
    groups: Sequence[Group], *, mode: str = "max", seed: int = 0
) -> StudyImportance:
    """Estimate the importance of each parameter that a study varied.

    Args:
        groups: The configurations of one study.
        mode: ``"max"`` when higher scores are better, else ``"min"``.
        seed: Seed of the forest and the shuffling.
    """
    study = groups[0].study or groups[0].experiment
    columns = swept_values(groups)
    count = len(groups)
    reason = ""
    if not columns:
        reason = "no parameter differs between its configurations"
    elif len(columns) == 1:
        reason = f"{next(iter(columns))} is the only parameter that differs: all is its doing"
    elif count < MIN_CONFIGURATIONS:
        reason = f"{count} configurations are too few; {MIN_CONFIGURATIONS} are needed"
    scores = np.array([iqm(group.scores) for group in groups])
    if not reason and np.ptp(scores) == 0.0:
        reason = "all configurations have the same score"
    if reason:
        return StudyImportance(
            study=study, configurations=count, parameters=(), fit=float("nan"), note=reason
        )
    blocks = [_encode(values) for values in columns.values()]
    shares, fit = forest_importance(blocks, scores, seed=seed)
    parameters = [
        ParameterImportance(name=name, importance=share, trend=_trend(values, scores, mode))
        for (name, values), share in zip(columns.items(), shares, strict=True)
    ]
    weak = "the parameters explain little of the scores: the order below may be chance"
    return StudyImportance(
        study=study,
        configurations=count,
        parameters=tuple(sorted(parameters, key=lambda item: -item.importance)),
        fit=fit,
        note=weak if fit < _WEAK_FIT else "",
    )


def forest_importance(
    blocks: Sequence[Floats], scores: Floats, *, seed: int = 0
) -> tuple[list[float], float]:
    """Return the importance of each parameter, and R² on the rows that trees have not seen.

    Args:
        blocks: One matrix ``(rows, columns)`` a parameter; a category has a column a level.
        scores: ``(rows,)``, not all equal.
        seed: Seed of the forest and the shuffling.
    """
    from sklearn.ensemble import RandomForestRegressor

    inputs = np.concatenate(blocks, axis=1)
    ends = np.cumsum([block.shape[1] for block in blocks])
    forest = RandomForestRegressor(_TREES, max_features=0.5, random_state=seed, n_jobs=1)
    forest.fit(inputs, scores)
    generator = np.random.default_rng(seed)
    growth = np.zeros(len(blocks))
    votes, voters = np.zeros(len(scores)), np.zeros(len(scores))
    used = 0
    for tree, seen in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        unseen = np.setdiff1d(np.arange(len(scores)), seen)
        if len(unseen) < 2:  # nothing to shuffle
            continue
        rows, truth = inputs[unseen], scores[unseen]
        plain = tree.predict(rows)
        votes[unseen] += plain
        voters[unseen] += 1
        error = np.mean((truth - plain) ** 2)
        shuffled = np.tile(rows, (len(blocks), 1, 1))
        for index, (block, end) in enumerate(zip(blocks, ends, strict=True)):
            columns = slice(end - block.shape[1], end)
            shuffled[index][:, columns] = generator.permutation(rows[:, columns])
        guesses = tree.predict(shuffled.reshape(-1, rows.shape[1])).reshape(len(blocks), -1)
        growth += np.mean((truth - guesses) ** 2, axis=1) - error
        used += 1
    variance = float(scores.var())
    known = voters > 0
    residual = np.mean((scores[known] - votes[known] / voters[known]) ** 2)
    shares = 0.5 * growth / max(used, 1) / variance
    return [float(share) for share in shares], float(1.0 - residual / variance)


def swept_values(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """Return the parameters that a study varied, name to the value of each configuration.

    A configuration records every setting. Those that its assignment names count; of settings that
    a named one drags along (the weights of a preset) only the named one does. Parameters that
    were always changed together stand together under one name.
    """
    first = [group.runs[0].params for group in groups]
    names = sorted({name for params in first for name in params})
    varying = {
        name: values
        for name in names
        if len(set(values := tuple(params.get(name, "") for params in first))) > 1
    }
    shorts = {
        short for group in groups for short in re.findall(r"(?:^| )([\w.]+)=", group.assignment)
    }
    named = [name for short in sorted(shorts) for name in _meant(short, varying)]
    together: dict[tuple[float, ...], list[str]] = {}
    for name in dict.fromkeys(named):
        together.setdefault(_order(varying[name]), []).append(name)
    return {" + ".join(group): varying[group[0]] for group in together.values()}


def _order(values: Sequence[str]) -> tuple[float, ...]:
    """Return the same for parameters between which no forest can tell.

    That is the order of numbers, whichever way round, and which configurations share a level.
    """
    numbers = _numbers(values)
    if numbers is None:
        levels = list(dict.fromkeys(values))
        return tuple(-1.0 - levels.index(value) for value in values)  # no rank is negative
    return max(tuple(_ranks(numbers)), tuple(_ranks(-numbers)))


def _meant(short: str, varying: Mapping[str, object]) -> list[str]:
    """Return the parameters that a shortened name of an assignment stands for."""
    for end in (f".{short}", f".{short}.preset"):
        if exact := [name for name in varying if f".{name}".endswith(end)]:
            return exact
    return [name for name in varying if f".{short}." in f".{name}."]


def _numbers(values: Sequence[str]) -> Floats | None:
    """Return the values as numbers, None when one is no number."""
    try:
        parsed = [json.loads(value) for value in values]
    except ValueError:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in parsed):
        return None
    numbers = np.array(parsed, dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def _encode(values: Sequence[str]) -> Floats:
    """Return numbers as one column, anything else as one column a level."""
    numbers = _numbers(values)
    if numbers is not None:
        return numbers[:, None]
    levels = sorted(set(values))
    return np.array([[float(value == level) for level in levels] for value in values])


def _trend(values: Sequence[str], scores: Floats, mode: str) -> str:
    """Say where better scores lie: by rank correlation, or by the mean of each level."""
    sign = 1.0 if mode == "max" else -1.0
    numbers = _numbers(values)
    if numbers is None:
        means = {v: scores[[value == v for value in values]].mean() for v in set(values)}
        best = max(sorted(means), key=lambda value: sign * means[value])
        return f"best on average: {best}"
    rho = rank_correlation(numbers, sign * scores)
    if abs(rho) < _WEAK_FIT:
        return f"no clear direction (rank correlation {rho:+.2f})"
    return f"{'higher' if rho > 0 else 'lower'} is better (rank correlation {rho:+.2f})"


def rank_correlation(x: Floats, y: Floats) -> float:
    """Return Spearman's rank correlation, 0 when one side is constant; ties share their rank."""
    first, second = _ranks(x), _ranks(y)
    if np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * (counts - 1.0))[inverse]
