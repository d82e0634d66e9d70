"""Term tables: a name, a function of the state, and how its value is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

if TYPE_CHECKING:  # commands look at the state, which knows of commands
    from stridelab_envs.mdp.commands import Command

TermFunction = Callable[..., Tensor]
"""``func(state, **params)`` returns ``(num_envs,)`` or, for observations, ``(num_envs, k)``."""


@dataclass(frozen=True, kw_only=True)
class RewardTerm:
    """One reward: ``weight * clip(func(state, **params))`` per second of simulated time.

    Per control step instead in a task with ``rewards_per_step``.
    """

    func: TermFunction
    weight: float = 1.0
    params: Mapping[str, Any] = field(default_factory=dict)
    clip: tuple[float, float] | None = None
    """Bounds of the raw value, before the weight."""


@dataclass(frozen=True, kw_only=True)
class ObservationTerm:
    """One block of an observation group: ``scale * (func(state, **params) + noise)``."""

    func: TermFunction
    params: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    noise: float = 0.0
    """Half-width of uniform noise, in the units of ``func``."""


@dataclass(frozen=True, kw_only=True)
class StateTerm:
    """A termination (boolean) or a metric (float) computed from the state.

    Steps in which a metric is NaN do not count.
    """

    func: TermFunction
    params: Mapping[str, Any] = field(default_factory=dict)
    over_episode: Literal["mean", "last", "sum"] = "mean"
    """What an episode reports of a metric: its mean over the steps, its last value, or its sum."""


@dataclass(frozen=True, kw_only=True)
class RandomizationTerm:
    """``func(state, ids, **params)`` changes environments ``ids`` when their episode starts.

    With ``interval_s`` it happens within the episode instead, again and again.
    """

    func: Callable[..., None]
    params: Mapping[str, Any] = field(default_factory=dict)
    interval_s: tuple[float, float] | None = None
    """Shortest and longest time between two changes [s]; None: once, when the episode starts."""
    prepare: Callable[..., None] | None = None
    """``prepare(spec, robot, timestep, **params)`` adds to the model what ``func`` needs in it."""


@dataclass(frozen=True, kw_only=True)
class CommandTerm:
    """What the policy is asked to do: ``func(state, **params)`` returns a ``Command``."""

    func: Callable[..., Command]
    params: Mapping[str, Any] = field(default_factory=dict)
