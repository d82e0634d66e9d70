"""Statistics for a handful of runs: robust means with honest intervals.

The measures follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS 2021). All functions are pure; randomness comes from a generator of their own,
so that an interval is the same for the same scores and seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], float]

_TRIM = 0.25


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A statistic with its bootstrap interval."""

    point: float
    """The statistic of the scores themselves."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """Number of runs (of each task)."""
    note: str = ""
    """What a reader must know before trusting the interval; empty when there is nothing."""


def iqm(scores: ArrayLike) -> float:
    """Return the interquartile mean: the mean without the lowest and highest quarter.

    Of ``n`` scores ``int(0.25 * n)`` are cut at each end, so for n < 4 it is the plain mean.

    Args:
        scores: Any shape; taken together, ``(runs,)`` or ``(runs, tasks)``.

    Raises:
        ValueError: There are no scores, or one is not finite.
    """
    values = np.sort(_finite(scores), axis=None)
    cut = int(_TRIM * values.size)
    return float(values[cut : values.size - cut].mean())


def optimality_gap(scores: ArrayLike, target: float) -> float:
    """Return the mean shortfall below ``target``; scores above it count as reaching it.

    Args:
        scores: Any shape; taken together.
        target: The score that counts as solved, in the unit of the scores.

    Raises:
        ValueError: There are no scores, or one is not finite.
    """
    return float(np.maximum(target - _finite(scores), 0.0).mean())


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Return the probability that a run of ``x`` scores higher than a run of ``y``.

    Ties count one half (the Mann-Whitney statistic over the number of pairs), averaged over tasks.

    Args:
        x: ``(runs_x,)`` or ``(runs_x, tasks)``.
        y: ``(runs_y,)`` or ``(runs_y, tasks)`` with the same tasks.

    Raises:
        ValueError: The tasks differ, there are no scores, or one is not finite.
    """
    first, second = _matrix(x), _matrix(y)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"x has {first.shape[1]} tasks, y has {second.shape[1]}")
    difference = first[:, None, :] - second[None, :, :]
    return float((0.5 * (np.sign(difference) + 1.0)).mean())


def bootstrap_interval(
    scores: ArrayLike,
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return ``statistic`` of the scores with its stratified percentile bootstrap interval.

    Runs are resampled with replacement independently in every task.

    Args:
        scores: ``(runs,)`` of one task or ``(runs, tasks)``.
        statistic: Maps a score matrix ``(runs, tasks)`` to a number, for example :func:`iqm`.
        confidence: Probability mass of the interval, in (0, 1).
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no scores, one is not finite, or a setting is out of range.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; at least 1 is needed")
    matrix = _matrix(scores)
    runs, tasks = matrix.shape
    generator = np.random.default_rng(seed)
    columns = np.arange(tasks)
    values = [
        statistic(matrix[generator.integers(0, runs, size=(runs, tasks)), columns])
        for _ in range(resamples)
    ]
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(
        point=float(statistic(matrix)),
        low=float(low),
        high=float(high),
        n=runs,
        note=_note(runs, tasks),
    )


def difference_interval(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Statistic,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return how much ``statistic`` of ``x`` lies above that of ``y``, with a bootstrap interval.

    The runs of both are resampled independently.

    Args:
        x: ``(runs_x,)``.
        y: ``(runs_y,)``.
        statistic: Maps scores ``(runs, 1)`` to a number, for example :func:`iqm`.
        confidence: Probability mass of the interval, in (0, 1).
        resamples: Number of bootstrap resamples, at least 1.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no scores, or one is not finite.
    """
    first, second = _matrix(x), _matrix(y)
    generator = np.random.default_rng(seed)

    def resampled(scores: Scores) -> float:
        return statistic(scores[generator.integers(0, len(scores), size=len(scores))])

    values = [resampled(first) - resampled(second) for _ in range(resamples)]
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(values, [tail, 1.0 - tail])
    runs = min(len(first), len(second))
    return Interval(
        point=float(statistic(first) - statistic(second)),
        low=float(low),
        high=float(high),
        n=runs,
        note=_note(runs, 1),
    )


def _note(runs: int, tasks: int) -> str:
    """Say what too few runs do to the result."""
    if runs == 1:
        return "n = 1: one run gives no interval"
    if runs * tasks < 4:
        return f"n = {runs}: with fewer than 4 scores the IQM is the plain mean"
    return ""


def _finite(scores: ArrayLike) -> Scores:
    """Return the scores as float64 after checking that there are some and all are finite."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise ValueError("there are no scores")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} scores not finite")
    return values


def _matrix(scores: ArrayLike) -> Scores:
    """Return the scores as ``(runs, tasks)``."""
    values = _finite(scores)
    if values.ndim == 1:
        return values[:, None]
    if values.ndim != 2:
        raise ValueError(f"scores have shape {values.shape}; (runs,) or (runs, tasks) is needed")
    return values
