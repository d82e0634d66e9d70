"""Robustness: what a policy survives of pushes, slippery ground and weight it has to carry."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stridelab.evaluation.rollout import Act, first_episodes
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import UserError
from stridelab_envs.mdp import model_randomization, randomization
from stridelab_envs.mdp.state import State
from stridelab_envs.mdp.terms import RandomizationTerm
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

UNITS = {"push": "m/s", "friction": "", "payload": "kg"}
"""The axes of a grid, with their units."""
_TERMS: dict[str, tuple[Callable[..., None], ...]] = {
    "push": (randomization.push, model_randomization.growing_push),
    "friction": (randomization.friction, model_randomization.friction_with_ground),
    "payload": (randomization.payload,),
}
"""The functions by which a task randomises what an axis names."""
_PUSHES = (0.0, 0.5, 1.0, 1.5)
_FRICTIONS = (0.3, 0.6, 1.0)
_LOADS = (0.0, 0.1, 0.2)
"""Shares of the robot's own mass."""
_PUSH_INTERVAL = (3.0, 5.0)
"""Time between two pushes [s] in a task that has none of its own."""
_TURN = 2.0
"""Angular [rad/s] over linear [m/s] part of a push in a task that has none of its own."""
_MAX_ENVS = 2048
"""Environments stepped together; more cells than fit take several runs."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What one side of the grid varies."""

    name: str
    """``push``, ``friction`` or ``payload``."""
    values: tuple[float, ...]
    """Largest speed a push adds along an axis [m/s], sliding friction, or mass added [kg]."""
    term: RandomizationTerm
    """The randomisation that varies it."""
    key: str
    """The term's name in the task; one that the task lacks is added under it."""
    own: bool
    """Whether the task has the term."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a policy did in each cell of a grid."""

    task: str
    """The task's id."""
    episodes: int
    """Episodes in each cell."""
    seed: int
    axes: dict[str, tuple[float, ...]]
    """Name to values: ``push`` [m/s], ``friction``, ``payload`` [kg]."""
    added: tuple[str, ...]
    """Axes that the task itself does not randomise."""
    cells: tuple[dict[str, Any], ...]
    """Its value on each axis and its ``metrics``; the last axis changes fastest."""

    def record(self) -> dict[str, Any]:
        """Return the grid as plain data."""
        return asdict(self)

    def values(self, metric: str) -> Tensor:
        """Return a metric over the grid, ``(push, friction, payload)``."""
        flat = torch.tensor([cell["metrics"][metric] for cell in self.cells])
        return flat.reshape([len(values) for values in self.axes.values()])


def axes_of(env: BatchEnv, chosen: Mapping[str, Sequence[float]]) -> list[Axis]:
    """Return the axes of a grid for a task.

    Args:
        env: Any environment of the task.
        chosen: Axis to values. An axis left out has default ones; of ``payload`` these are 0, 10
            and 20 % of the robot's mass.

    Raises:
        UserError: A value is out of range.
    """
    mass = float(env.sim.model.body_subtreemass[env.sim.model.body(env.robot.base_body).id])
    defaults = {
        "push": _PUSHES,
        "friction": _FRICTIONS,
        "payload": tuple(float(f"{share * mass:.2g}") for share in _LOADS),
    }
    axes = []
    for name in UNITS:
        values = chosen.get(name, defaults[name])
        axis = _axis(env, name, tuple(sorted(set(values))))
        _check(env, axis)
        axes.append(axis)
    return axes


def _axis(env: BatchEnv, name: str, values: tuple[float, ...]) -> Axis:
    for key, term in env.task.randomization.items():
        if term.func in _TERMS[name]:
            return Axis(name=name, values=values, term=term, key=key, own=True)
    added = {
        "push": RandomizationTerm(
            func=randomization.push,
            params={"linear": 1.0, "angular": _TURN},
            interval_s=_PUSH_INTERVAL,
        ),
        "friction": RandomizationTerm(
            func=randomization.friction, params={"low": 1.0, "high": 1.0}
        ),
        "payload": RandomizationTerm(
            func=randomization.payload,
            params={"body": env.robot.base_body, "low": 0.0, "high": 0.0},
        ),
    }
    return Axis(name=name, values=values, term=added[name], key=name, own=False)


def _check(env: BatchEnv, axis: Axis) -> None:
    low = 0.0
    if axis.name == "payload":
        body = axis.term.params["body"]
        low = -float(env.sim.model.body(body).mass[0])
    for value in axis.values:
        if not math.isfinite(value) or value < low or (low and value == low):
            bound = f"above {low:.3g} kg, the mass of {body}" if low else "at least 0"
            raise UserError(f"--{axis.name}: must be finite and {bound}, got {value:g}")


def missing_terms(task: TaskConfig, axes: Sequence[Axis]) -> Iterator[str]:
    """Tell, a line each, which axes the task does not randomise itself."""
    instead = {
        "push": f"pushed every {_PUSH_INTERVAL[0]:g} to {_PUSH_INTERVAL[1]:g} s here",
        "friction": "the friction of all geoms is set here",
        "payload": "the base carries it here",
    }
    for axis in axes:
        if not axis.own:
            yield f"task {task.id} does not randomise {axis.name}: {instead[axis.name]}"


def steps_of(task: TaskConfig, axes: Sequence[Axis], episodes: int) -> int:
    """Return how many control steps a grid takes at most."""
    cells = math.prod(len(axis.values) for axis in axes)
    return math.ceil(cells / _cells_at_once(episodes)) * task.max_episode_steps


def _cells_at_once(episodes: int) -> int:
    return max(1, _MAX_ENVS // episodes)


def robustness(
    controller: Callable[[BatchEnv], Act],
    task: TaskConfig,
    axes: Sequence[Axis],
    *,
    episodes: int,
    seed: int,
    num_threads: int = 0,
    on_step: Callable[[], None] = lambda: None,
) -> Grid:
    """Run episodes in every cell of a grid, many cells at a time.

    Everything else that the task randomises stays random. A push grows as a whole: its angular
    part [rad/s] in proportion to the linear one.

    Args:
        controller: Returns what acts in given environments; for a bundle ``policy.controller``.
        task: The task, with the policy's own settings.
        axes: From :func:`axes_of`.
        episodes: Episodes in each cell.
        seed: Seed of the environments.
        num_threads: Physics threads; 0 takes every core.
        on_step: Called after every control step of all environments, for progress.
    """
    task = task.for_evaluation()
    places = list(itertools.product(*[range(len(axis.values)) for axis in axes]))
    cells: list[dict[str, Any]] = []
    at_once = _cells_at_once(episodes)
    for start in range(0, len(places), at_once):
        chunk = places[start : start + at_once]
        levels = torch.tensor(chunk).repeat_interleave(episodes, dim=0)
        env = make_env(
            _graded_task(task, axes, levels),
            num_envs=len(levels),
            seed=seed,
            num_threads=num_threads,
        )
        logged = first_episodes(controller(env), env, on_step=on_step)
        cells += _cells(axes, chunk, logged)
    return Grid(
        task=task.id,
        episodes=episodes,
        seed=seed,
        axes={axis.name: axis.values for axis in axes},
        added=tuple(axis.name for axis in axes if not axis.own),
        cells=tuple(cells),
    )


def _cells(
    axes: Sequence[Axis], places: Sequence[Sequence[int]], logged: Mapping[str, Tensor]
) -> Iterator[dict[str, Any]]:
    """Average over the episodes of each cell; ``logged`` holds cell after cell."""
    kept = {name: v for name, v in logged.items() if not name.startswith("reward/")}
    means = {name: value.reshape(len(places), -1).nanmean(dim=1) for name, value in kept.items()}
    means["episode/survival_rate"] = 1.0 - means.pop("episode/fell")
    for row, place in enumerate(places):
        where = {axis.name: axis.values[at] for axis, at in zip(axes, place, strict=True)}
        yield where | {"metrics": {name: float(value[row]) for name, value in means.items()}}


def _graded_task(task: TaskConfig, axes: Sequence[Axis], levels: Tensor) -> TaskConfig:
    """Return the task with the axes' terms set in each environment; ``levels (num_envs, axes)``."""
    terms = dict(task.randomization)
    for column, axis in enumerate(axes):
        term = terms.get(axis.key, axis.term) if axis.own else axis.term
        params = [_params(axis, value) for value in axis.values]
        terms[axis.key] = replace(term, func=_Graded(term.func, params, levels[:, column]))
    return replace(task, randomization=terms)


def _params(axis: Axis, value: float) -> dict[str, float]:
    """Return the parameters of the axis' term that make it what the grid asks for."""
    if axis.name != "push":
        return {"low": value, "high": value}
    linear, angular = axis.term.params["linear"], axis.term.params["angular"]
    return {"linear": value, "angular": value * (angular / linear if linear else _TURN)}


class _Graded:
    """A randomisation whose parameters differ from environment to environment.

    Args:
        func: The randomisation.
        params: What each level changes of its parameters.
        level: Level of each environment, ``(num_envs,)``.
    """

    def __init__(
        self, func: Callable[..., None], params: Sequence[Mapping[str, float]], level: Tensor
    ) -> None:
        self._func, self._params, self._level = func, params, level

    def __call__(self, state: State, ids: Tensor, **params: Any) -> None:
        """Randomise environments ``ids (k,)``, each with its own parameters."""
        for level, own in enumerate(self._params):
            chosen = ids[self._level[ids] == level]
            if chosen.numel():
                self._func(state, chosen, **{**params, **own})
