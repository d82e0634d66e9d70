"""What a task is, as data, and how a user's overrides change it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, TypeVar

import mujoco

from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.mdp.term_registry import registered_term, term_names
from stridelab_envs.mdp.terms import (
    CommandTerm,
    ObservationTerm,
    RandomizationTerm,
    RewardTerm,
    StateTerm,
)
from stridelab_envs.tasks.profiles import INTEGRATORS, Profile
from stridelab_envs.terrain import TerrainConfig

TermT = TypeVar("TermT", RewardTerm, ObservationTerm, StateTerm, RandomizationTerm, CommandTerm)


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A task: robot, rates and term tables. Frozen; :meth:`with_overrides` makes changed copies."""

    id: str
    """Name in the registry."""
    description: str
    """One sentence for people."""
    robot: str
    """Name of the robot."""
    timestep: float = 0.005
    """Physics step [s]."""
    decimation: int = 4
    """Physics steps per control step."""
    integrator: str | None = None
    """Name of the integrator, one of ``INTEGRATORS``; None: what the robot's file says."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """Named choices of the three settings above; an override takes one by ``profile``."""
    episode_length_s: float = 20.0
    """Time limit of an episode [s]; reaching it truncates."""
    action_scale: float | Mapping[str, float] = 0.5
    """Joint offset per unit of action [rad]; a number, or numbers by joint or joint group."""
    action_clip: float = 3.0
    """Actions are clipped to plus or minus this before they are used."""
    action_delay: float = 0.0
    """Largest share of the last applied action in the next; drawn anew at every step."""
    action_noise: float = 0.0
    """Standard deviation of the factor 1 + noise on every applied action."""
    terrain: TerrainConfig = field(default_factory=TerrainConfig)
    """What the ground is like."""
    contact_threshold: float = 1.0
    """A foot touches the ground above this vertical force [N]."""
    min_stance_time: float = 0.06
    """Time [s] a foot must carry the robot alone to count as the stance foot."""
    min_switch_interval: float = 0.0
    """Least time [s] between two counted changes of the stance foot."""
    objects: tuple[str, ...] = ()
    """What the scene holds besides the robot, by name; see ``robots/objects.py``."""
    contact_bodies: tuple[str, ...] = ()
    """Bodies of the robot whose contact forces terms may ask for; the feet are always known."""
    commands: Mapping[str, CommandTerm] = field(default_factory=dict)
    """What the policy is asked to do."""
    observations: Mapping[str, Mapping[str, ObservationTerm]]
    """Groups of observation terms; ``policy`` is required, ``critic`` is optional."""
    more_observations: Mapping[str, ObservationTerm] = field(default_factory=dict)
    """Terms that no group is shown until an experiment names them."""
    history: Mapping[str, int] = field(default_factory=dict)
    """Number of frames in an observation of a group, oldest first; 1 where it names none."""
    rewards: Mapping[str, RewardTerm]
    """Reward terms; a term of weight 0 is not computed."""
    reward_presets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Named sets of reward weights; terms a preset does not name have weight 0."""
    rewards_per_step: bool = False
    """Rewards are amounts a control step instead of a second."""
    only_positive_rewards: bool = False
    """Clip the sum of rewards at zero from below."""
    terminations: Mapping[str, StateTerm] = field(default_factory=dict)
    """Failures that end an episode without bootstrapping."""
    randomization: Mapping[str, RandomizationTerm] = field(default_factory=dict)
    """Random changes when an episode starts, or within it."""
    metrics: Mapping[str, StateTerm] = field(default_factory=dict)
    """What is measured but not rewarded."""

    def __post_init__(self) -> None:
        for group in self.history:
            if group not in self.observations:
                message = unknown_name("observation group", group, self.observations)
                raise ConfigError(f"history.{group}", message)

    @property
    def control_dt(self) -> float:
        """Control period [s]."""
        return self.timestep * self.decimation

    @property
    def max_episode_steps(self) -> int:
        """Control steps after which an episode is truncated."""
        return round(self.episode_length_s / self.control_dt)

    def for_evaluation(self) -> TaskConfig:
        """Return a copy in which no curriculum changes commands or spares the robot."""
        return replace(
            self,
            commands=_without_curriculum(self.commands),
            randomization=_without_curriculum(self.randomization),
        )

    def set_physics(self, model: mujoco.MjModel) -> None:
        """Set the time step and the integrator of a model."""
        model.opt.timestep = self.timestep
        if self.integrator is not None:
            model.opt.integrator = INTEGRATORS[self.integrator]

    def reward_weights(self) -> dict[str, float]:
        """Return the weight of every reward term."""
        return {name: term.weight for name, term in self.rewards.items()}

    def with_overrides(self, overrides: Mapping[str, Any]) -> TaskConfig:
        """Return a copy changed by a user's mapping (the ``task`` section of an experiment).

        Args:
            overrides: ``rewards`` takes a preset's name, or a mapping from term to weight (or to a
                mapping with ``weight``, ``clip`` and parameters), with ``preset`` as an optional
                first choice; ``observations`` maps group, then term, to a mapping with ``scale``,
                ``noise`` and parameters; ``commands``, ``terminations`` and ``randomization`` map
                a term to its parameters, what is random within an episode also to
                ``interval_s``. A term of an installed package is added by naming it, and an
                observation of another group or of ``more_observations`` too; ``null``
                switches a term off, but no command. ``history`` maps a group to
                its number of frames; ``profile`` names one of the task's profiles; ``terrain`` is
                a kind of ground, or a mapping with ``kind``, ``difficulty`` and ``seed``. The
                scalars carry their own names and win over the profile.

        Raises:
            ConfigError: If a key is unknown or a value is out of range; the path is relative to
                the task.
        """
        changes: dict[str, Any] = {}
        if "profile" in overrides:
            changes |= self._profile(overrides["profile"])
        for key, value in overrides.items():
            if key == "profile":
                continue
            if key in _SCALARS:
                changes[key] = _SCALARS[key](key, value)
            elif key == "terrain":
                changes[key] = TerrainConfig.parse(key, value)
            elif key == "action_scale":
                changes[key] = _action_scale(value)
            elif key == "rewards":
                changes[key] = self._override_rewards(value)
            elif key == "history":
                frames = _as_mapping(value, key).items()
                lengths = {group: _whole(f"history.{group}", count) for group, count in frames}
                changes[key] = {**self.history, **lengths}
            elif key == "observations":
                groups, change = _as_mapping(value, key), partial(_group, elsewhere=self._shown())
                changes[key] = _override_table(self.observations, groups, key, "group", change)
            elif key in _KIND:
                table: Mapping[str, Any] = getattr(self, key)
                changes[key] = _override_table(
                    table, _as_mapping(value, key), key, _KIND[key], _CHANGE.get(key, _parameters)
                )
            else:
                known = [*_SCALARS, "profile", "terrain", "action_scale", "rewards", "observations"]
                known += ["history", *_KIND]
                raise ConfigError(key, unknown_name("task setting", key, known))
        changed = replace(self, **changes)
        if changed.max_episode_steps < 1:
            raise ConfigError(
                "episode_length_s", f"must be at least one control step, {changed.control_dt:g} s"
            )
        return changed

    def _shown(self) -> dict[str, ObservationTerm]:
        """Return every observation term the task knows, by name."""
        terms = dict(self.more_observations)
        for group in self.observations.values():
            terms |= group
        return terms

    def _profile(self, name: Any) -> dict[str, Any]:
        if not isinstance(name, str) or name not in self.profiles:
            raise ConfigError("profile", unknown_name("profile", name, self.profiles))
        profile = self.profiles[name]
        return {item.name: getattr(profile, item.name) for item in fields(profile)}

    def _override_rewards(self, value: Any) -> dict[str, RewardTerm]:
        if isinstance(value, str):
            value = {"preset": value}
        changes = dict(_as_mapping(value, "rewards", or_preset=True))
        table = dict(self.rewards)
        if "preset" in changes:
            weights = self._preset(changes.pop("preset"))
            table = {
                name: replace(term, weight=float(weights.get(name, 0.0)))
                for name, term in table.items()
            }
        return _override_table(table, changes, "rewards", "reward", _reward)

    def _preset(self, name: Any) -> Mapping[str, float]:
        if not isinstance(name, str) or name not in self.reward_presets:
            raise ConfigError("rewards", unknown_name("reward preset", name, self.reward_presets))
        return self.reward_presets[name]


_KIND = {
    "commands": "command",
    "terminations": "termination",
    "randomization": "randomization",
}


def number(
    path: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float | None = None,
) -> float:
    """Return ``value`` as a finite float, from ``low`` to ``high`` or greater than ``above``.

    Raises:
        ConfigError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(path, f"must be a finite number, got {value!r}")
    if value < low:
        raise ConfigError(path, f"must be at least {low:g}, got {value:g}")
    if value > high:
        raise ConfigError(path, f"must be at most {high:g}, got {value:g}")
    if above is not None and value <= above:
        raise ConfigError(path, f"must be greater than {above:g}, got {value:g}")
    return float(value)


def _positive(path: str, value: Any) -> float:
    return number(path, value, above=0.0)


def _whole(path: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(path, f"must be a whole number of at least 1, got {value!r}")
    return value


def _flag(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(path, f"must be true or false, got {value!r}")
    return value


def _integrator(path: str, value: Any) -> str:
    if not isinstance(value, str) or value not in INTEGRATORS:
        raise ConfigError(path, unknown_name("integrator", value, INTEGRATORS))
    return value


_SCALARS: dict[str, Callable[[str, Any], Any]] = {
    "timestep": _positive,
    "decimation": _whole,
    "integrator": _integrator,
    "episode_length_s": _positive,
    "action_clip": _positive,
    "action_delay": partial(number, low=0.0, high=1.0),
    "action_noise": partial(number, low=0.0),
    "contact_threshold": partial(number, low=0.0),
    "min_stance_time": _positive,
    "min_switch_interval": partial(number, low=0.0),
    "rewards_per_step": _flag,
    "only_positive_rewards": _flag,
}


CurriculumTerm = TypeVar("CurriculumTerm", CommandTerm, RandomizationTerm)


def _without_curriculum(table: Mapping[str, CurriculumTerm]) -> dict[str, CurriculumTerm]:
    return {
        name: replace(term, params={**term.params, "curriculum": False})
        if "curriculum" in term.params
        else term
        for name, term in table.items()
    }


def _as_mapping(value: Any, path: str, *, or_preset: bool = False) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        choice = "a preset's name or " if or_preset else ""
        raise ConfigError(path, f"must be {choice}a mapping of names, got {value!r}")
    return value


def _action_scale(value: Any) -> float | dict[str, float]:
    if isinstance(value, Mapping):
        return {group: _positive(f"action_scale.{group}", scale) for group, scale in value.items()}
    return _positive("action_scale", value)


def _override_table(
    table: Mapping[str, Any],
    changes: Mapping[str, Any],
    path: str,
    kind: str,
    change: Any,
    elsewhere: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Apply ``change(path, entry, value)`` to the entries named; ``None`` takes an entry out.

    A name the table lacks may be in ``elsewhere``, or that of a term of an installed package; it is
    added.
    """
    result, elsewhere = dict(table), elsewhere or {}
    for name, value in changes.items():
        if name not in table:
            known = [*table, *elsewhere, *term_names(kind)]
            if name not in known:
                raise ConfigError(f"{path}.{name}", unknown_name(kind, name, known))
            result[name] = elsewhere[name] if name in elsewhere else registered_term(kind, name)
        entry = change(f"{path}.{name}", result[name], value)
        if entry is None:
            del result[name]
        else:
            result[name] = entry
    return result


def _reward(path: str, term: RewardTerm, value: Any) -> RewardTerm:
    if value is None:
        return replace(term, weight=0.0)
    if not isinstance(value, Mapping):
        return replace(term, weight=number(path, value))
    settings = dict(value)
    if "weight" in settings:
        term = replace(term, weight=number(f"{path}.weight", settings.pop("weight")))
    if "clip" in settings:
        term = replace(term, clip=_bounds(f"{path}.clip", settings.pop("clip")))
    return _with_params(path, term, settings)


def _observation(path: str, term: ObservationTerm, value: Any) -> ObservationTerm | None:
    if value is None:
        return None
    settings = dict(_as_mapping(value, path))
    if "scale" in settings:
        term = replace(term, scale=number(f"{path}.scale", settings.pop("scale")))
    if "noise" in settings:
        term = replace(term, noise=number(f"{path}.noise", settings.pop("noise"), low=0.0))
    return _with_params(path, term, settings)


def _group(
    path: str,
    terms: Mapping[str, ObservationTerm],
    value: Any,
    elsewhere: Mapping[str, ObservationTerm],
) -> Mapping[str, Any]:
    changes = _as_mapping(value, path)
    left = _override_table(terms, changes, path, "observation", _observation, elsewhere)
    if not left:
        raise ConfigError(path, "must keep at least one observation")
    return left


def _parameters(path: str, term: Any, value: Any) -> Any:
    return None if value is None else _with_params(path, term, _as_mapping(value, path))


def _command(path: str, term: CommandTerm, value: Any) -> CommandTerm:
    if value is None:
        raise ConfigError(path, "a command cannot be switched off")
    term = _with_params(path, term, _as_mapping(value, path))
    if "resampling_time" in term.params:
        number(f"{path}.resampling_time", term.params["resampling_time"][0], above=0.0)
    return term


def _randomization(path: str, term: RandomizationTerm, value: Any) -> RandomizationTerm | None:
    if value is None:
        return None
    settings = dict(_as_mapping(value, path))
    if term.interval_s is not None and "interval_s" in settings:
        low, high = _bounds(f"{path}.interval_s", settings.pop("interval_s"), equal=True)
        number(f"{path}.interval_s", low, above=0.0)
        term = replace(term, interval_s=(low, high))
    return _with_params(path, term, settings)


_CHANGE: dict[str, Callable[[str, Any, Any], Any]] = {
    "commands": _command,
    "randomization": _randomization,
}


def _with_params(path: str, term: TermT, settings: Mapping[str, Any]) -> TermT:
    """Change parameters the term has already; a number stays a number."""
    params: dict[str, Any] = dict(term.params)
    own: list[str] = [f.name for f in fields(term) if f.name not in ("func", "params", "prepare")]
    if getattr(term, "interval_s", ()) is None:  # what happens at the start is not repeated
        own.remove("interval_s")
    for name, value in settings.items():
        if name not in params:
            raise ConfigError(f"{path}.{name}", unknown_name("parameter", name, [*params, *own]))
        if isinstance(params[name], int | float) and not isinstance(params[name], bool):
            value = number(f"{path}.{name}", value)
        elif isinstance(params[name], Mapping):
            value = _entries(f"{path}.{name}", params[name], value)
        elif isinstance(params[name], list):
            value = list(_bounds(f"{path}.{name}", value, equal=True))
        elif type(value) is not type(params[name]):
            raise ConfigError(f"{path}.{name}", f"must look like {params[name]!r}, got {value!r}")
        params[name] = value
    return replace(term, params=params)


def _entries(path: str, known: Mapping[str, Any], value: Any) -> dict[str, list[float]]:
    """Change some of a parameter's named ranges."""
    ranges = {name: list(bounds) for name, bounds in known.items()}
    for name, bounds in _as_mapping(value, path).items():
        if name not in known:
            raise ConfigError(f"{path}.{name}", unknown_name("range", name, known))
        ranges[name] = list(_bounds(f"{path}.{name}", bounds, equal=True))
    return ranges


def _bounds(path: str, value: Any, *, equal: bool = False) -> tuple[float, float]:
    """Return ``value`` as low and high; ``equal`` lets them be one number."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ConfigError(path, f"must be [low, high], got {value!r}")
    low, high = number(path, value[0]), number(path, value[1])
    if low > high or (low == high and not equal):
        raise ConfigError(path, f"low must be below high, got [{low:g}, {high:g}]")
    return low, high
