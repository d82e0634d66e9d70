"""How well a policy does what it is told, by what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stridelab_envs.errors import UserError
from stridelab_envs.mdp.state import State
from stridelab_envs.mdp.terms import StateTerm, TermFunction
from stridelab_envs.tasks.config import TaskConfig

FALLS = "falls_per_minute"
"""Name of the map of falls [1/min]."""
_BINS = {1: 8, 2: 6}
"""Number of axes of a map to the number of bins along each."""


@dataclass(frozen=True, kw_only=True)
class CommandMap:
    """Means of a metric over bins of one or two columns of a command."""

    command: str
    """Name of the command."""
    columns: tuple[str, ...]
    """The columns looked at; the others are averaged over."""
    metric: str
    """A metric of the task, or :data:`FALLS`."""
    edges: tuple[tuple[float, ...], ...]
    """Edges of the bins of each column, in the command's units."""
    mean: list[Any]
    """Mean in each bin, nested as ``columns``; NaN where nothing was measured."""
    count: list[Any]
    """Measurements in each bin; of :data:`FALLS` the minutes spent there."""


@dataclass(frozen=True, kw_only=True)
class CommandErrors:
    """Every map of a policy."""

    task: str
    """The task's id."""
    episodes: int
    """Environments that were watched."""
    seed: int
    maps: tuple[CommandMap, ...]

    def record(self) -> dict[str, Any]:
        """Return the maps as plain data."""
        return asdict(self)


def is_error(metric: str) -> bool:
    """Tell whether a task's metric is an error by its name, as ``wrist_error`` is."""
    return "error" in metric


class CommandWatch:
    """Remembers, while a task runs, under which commands its errors were measured.

    Run ``watch.task`` in place of the task; then ask for :meth:`errors`. An error counts for the
    command in force when it was measured, which is when a window closes or a command ends.

    Args:
        task: The task.

    Raises:
        UserError: The task has no command, or no error that refers to one.
    """

    def __init__(self, task: TaskConfig) -> None:
        watched = {
            name: term
            for name, term in task.metrics.items()
            if is_error(name) and term.params.get("command") in task.commands
        }
        if not watched:
            what = "error of a command among its metrics" if task.commands else "command"
            raise UserError(f"task {task.id} has no {what}: there are no command errors to map")
        self._logs: dict[str, _Log] = {}
        metrics = dict(task.metrics)
        for name, term in watched.items():
            log = self._logs.setdefault(term.params["command"], _Log(term.params["command"], name))
            metrics[name] = replace(term, func=_Watched(name, term, log))
        self.task = replace(task, metrics=metrics)

    def errors(self, *, episodes: int, seed: int) -> CommandErrors:
        """Return the maps of what was seen so far; the arguments say how it was run."""
        maps = [found for log in self._logs.values() for found in log.maps()]
        return CommandErrors(task=self.task.id, episodes=episodes, seed=seed, maps=tuple(maps))


class _Log:
    """What was seen under one command; ``clock`` is the metric that comes once a step."""

    def __init__(self, command: str, clock: str) -> None:
        self._command, self._clock = command, clock
        self._columns: tuple[str, ...] = ()
        self._ranges: list[Tensor] = []
        self._commands: list[Tensor] = []
        self._fell: list[Tensor] = []
        self._measured: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self._minutes = 0.0

    def add(self, state: State, name: str, value: Tensor) -> None:
        """Take in metric ``value (num_envs,)`` of the step just made; NaN is not measured."""
        command = state.commands[self._command]
        if name == self._clock:
            self._columns, self._minutes = command.names, state.dt / 60.0
            self._ranges = [command.low.clone(), command.high.clone()]
            self._commands.append(command.value.clone())
            self._fell.append(state.terminated.clone())
        rows = ~value.isnan()
        if rows.any():
            pairs = self._measured.setdefault(name, [])
            pairs.append((command.value[rows].clone(), value[rows].clone()))

    def maps(self) -> Iterator[CommandMap]:
        """Give the maps of each metric, columns in pairs, and those of falls."""
        commands = torch.cat(self._commands).numpy()
        # Commands may leave the ranges that most are drawn from, as one to stand still does.
        reached = torch.stack(self._ranges).numpy()
        low = np.minimum(reached[0], commands.min(axis=0))
        high = np.maximum(reached[1], commands.max(axis=0))
        fell = torch.cat(self._fell).numpy()
        for chosen in _pairs(_varied(commands)):
            columns = tuple(self._columns[column] for column in chosen)
            bins = _BINS[len(chosen)] + 1
            edges = [np.linspace(low[column], high[column], bins) for column in chosen]
            for name, pairs in self._measured.items():
                where = torch.cat([w for w, _ in pairs]).numpy()[:, chosen]
                values = torch.cat([v for _, v in pairs]).numpy()
                count, total = _histogram(where, edges), _histogram(where, edges, values)
                yield self._map(name, columns, edges, total, count)
            minutes = _histogram(commands[:, chosen], edges) * self._minutes
            yield self._map(
                FALLS, columns, edges, _histogram(commands[fell][:, chosen], edges), minutes
            )

    def _map(
        self,
        metric: str,
        columns: tuple[str, ...],
        edges: Sequence[NDArray[np.float64]],
        total: NDArray[np.float64],
        count: NDArray[np.float64],
    ) -> CommandMap:
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return CommandMap(
            command=self._command,
            columns=columns,
            metric=metric,
            edges=tuple(tuple(e.tolist()) for e in edges),
            mean=mean.tolist(),
            count=count.tolist(),
        )


class _Watched:
    """A metric that also tells a log what it measured; the last value only, where that counts."""

    def __init__(self, name: str, term: StateTerm, log: _Log) -> None:
        self._name, self._log = name, log
        self._func: TermFunction = term.func
        self._last = term.over_episode == "last"

    def __call__(self, state: State, **params: Any) -> Tensor:
        value = self._func(state, **params)
        going_on = ~(state.terminated | (state.episode_step >= state.max_episode_steps))
        unfinished = going_on if self._last else torch.zeros_like(going_on)
        self._log.add(state, self._name, value.masked_fill(unfinished, torch.nan))
        return value


def _varied(commands: NDArray[np.float32]) -> list[int]:
    """Return the columns of ``commands (n, columns)`` that are not always the same."""
    return np.flatnonzero(np.ptp(commands, axis=0) > 0.0).tolist()


def _pairs(columns: Sequence[int]) -> list[list[int]]:
    """Take neighbours together: x with y; the last one stays alone where they are odd."""
    return [list(columns[i : i + 2]) for i in range(0, len(columns), 2)]


def _histogram(
    where: NDArray[np.float32],
    edges: Sequence[NDArray[np.float64]],
    weights: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    counts: NDArray[np.float64] = np.histogramdd(where, bins=list(edges), weights=weights)[0]
    return counts


def by_columns(maps: Sequence[CommandMap]) -> Mapping[tuple[str, ...], list[CommandMap]]:
    """Group maps by command and columns, in their order."""
    groups: dict[tuple[str, ...], list[CommandMap]] = {}
    for found in maps:
        groups.setdefault((found.command, *found.columns), []).append(found)
    return groups
