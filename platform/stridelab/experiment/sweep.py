"""The sweep section: what is searched, by which search algorithm and scheduler."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stridelab.experiment.messages import show
from stridelab.experiment.search_space import SearchSpace, parse_space
from stridelab.experiment.sections import Integer, Section
from stridelab_envs.errors import ConfigError, unknown_name

_SCHEDULERS = {
    "fifo": None,
    "asha": "ray.tune.schedulers:ASHAScheduler",
    "median_stopping": "ray.tune.schedulers:MedianStoppingRule",
}
_SEARCHES = {"random": None, "optuna": "ray.tune.search.optuna:OptunaSearch"}
_OURS = {
    "metric": "it is sweep.metric",
    "mode": "it is sweep.mode",
    "seed": "it is sweep.search_seed",
    "space": "it is sweep.parameters",
    "time_attr": "the platform counts in training iterations",
    "sampler": "it is a Python object",
    "storage": "it is a Python object",
}
_NEVER_SWEPT = ("name", "seeds", "sweep")


class SweepSection(Section):
    """Many runs of one experiment that differ in a few values."""

    metric: str = Field(
        default="episode/return", min_length=1, description="Result by which trials are compared."
    )
    mode: Literal["max", "min"] = Field(
        default="max", description="Whether more or less is better."
    )
    parameters: dict[str, dict[str, Any]] = Field(
        min_length=1, description="Search space of each dotted key; a bare list is a grid."
    )
    samples: Integer = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Draws from the space; each runs through all grids.",
    )
    scheduler: dict[str, dict[str, Any]] = Field(
        default={"fifo": {}},
        description="Stops poor trials: fifo (never), asha or median_stopping, with arguments.",
    )
    search: dict[str, dict[str, Any]] = Field(
        default={"random": {}}, description="Draws the values: random, or optuna with arguments."
    )
    baseline: bool = Field(
        default=False, description="Also run the experiment with no value changed."
    )
    search_seed: Integer = Field(
        default=0, ge=0, le=2**32 - 1, description="Seed of the search algorithm, 0 to 2**32 - 1."
    )

    @property
    def scheduler_name(self) -> str:
        """``fifo``, ``asha`` or ``median_stopping``."""
        return next(iter(self.scheduler))

    @property
    def scheduler_args(self) -> dict[str, Any]:
        """Constructor arguments of the Ray scheduler, without metric, mode and time."""
        return dict(self.scheduler[self.scheduler_name])

    @property
    def search_name(self) -> str:
        """``random`` or ``optuna``."""
        return next(iter(self.search))

    @property
    def search_args(self) -> dict[str, Any]:
        """Constructor arguments of the Ray searcher, without space, metric, mode and seed."""
        return dict(self.search[self.search_name])

    @property
    def space(self) -> SearchSpace:
        """The search space of ``parameters``."""
        spaces = {key: parse_space(raw) for key, raw in self.parameters.items()}
        return SearchSpace(spaces, self.search_name)

    @field_validator("parameters", mode="before")
    @classmethod
    def _spaces(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        written: dict[str, dict[str, Any]] = {}
        for key, raw in value.items():
            if key.split(".")[0] in _NEVER_SWEPT:
                raise ConfigError(key, f"cannot be swept (nor can {', '.join(_NEVER_SWEPT)})")
            try:
                space = parse_space(raw)
            except ConfigError as error:
                raise error.under(key) from None
            written[key] = {space.kind: list(space.values)}
        return written

    @field_validator("scheduler", mode="before")
    @classmethod
    def _known_scheduler(cls, value: Any) -> Any:
        # ASHA's own limit on iterations is not known yet: it must not spoil the check.
        return _component("scheduler", value, _SCHEDULERS, {"max_t": 10**9})

    @field_validator("search", mode="before")
    @classmethod
    def _known_search(cls, value: Any) -> Any:
        return _component("search", value, _SEARCHES, {})

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        if self.search_name == "random":
            return self
        for key, raw in self.parameters.items():
            if "grid" in raw:
                message = f"{self.search_name} cannot search a grid; write {{choice: [...]}}"
                raise ConfigError(f"parameters.{key}", message)
        return self


def _component(
    kind: str, value: Any, known: dict[str, str | None], defaults: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of a scheduler or search algorithm, checked against Ray."""
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError("", f"must be one of {', '.join(sorted(known))}, got {show(value)}")
    [(name, args)] = value.items()
    if name not in known:
        raise ConfigError("", unknown_name(kind, name, known))
    args = {} if args is None else args
    if not isinstance(args, dict):
        raise ConfigError(name, f"must be a mapping of arguments, got {show(args)}")
    target = known[name]
    if target is not None:
        _check_arguments(name, target, args, defaults)
    elif args:
        raise ConfigError(name, f"takes no arguments, got {', '.join(map(str, args))}")
    return {name: args}


def _check_arguments(
    name: str, target: str, args: dict[str, Any], defaults: dict[str, Any]
) -> None:
    """Refuse arguments that the Ray class does not take: Ray itself drops or fails on them."""
    if not args:
        return
    module, _, attribute = target.partition(":")
    ray_class = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(ray_class).parameters
    taken = [key for key in parameters if key not in _OURS]
    for key, value in args.items():
        if key in _OURS:
            raise ConfigError(f"{name}.{key}", f"cannot be set here: {_OURS[key]}")
        if key not in taken:
            raise ConfigError(f"{name}.{key}", unknown_name("argument", key, taken))
        _check_type(f"{name}.{key}", value, parameters[key].annotation)
    usable = {key: value for key, value in defaults.items() if key in taken}
    try:
        ray_class(**{**usable, **args})
    except (AssertionError, TypeError, ValueError) as error:
        reason = str(error).rstrip("!.") or "a value is out of range"
        raise ConfigError(name, f"{attribute} refuses these arguments: {reason}") from None


def _check_type(path: str, value: Any, annotation: Any) -> None:
    """Refuse a value of another plain type than the argument's own."""
    words = {int: "an integer", float: "a number", bool: "true or false"}
    if annotation not in words:
        return
    fits = isinstance(value, int | float if annotation is float else annotation)
    if not fits or (isinstance(value, bool) and annotation is not bool):
        raise ConfigError(path, f"must be {words[annotation]}, got {show(value)}")
