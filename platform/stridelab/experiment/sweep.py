"""The sweep section: what is searched, by which search algorithm and scheduler."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stridelab.experiment.components import SCHEDULERS, SEARCHES, component
from stridelab.experiment.search_space import SearchSpace, Space, parse_space
from stridelab.experiment.sections import Integer, Section
from stridelab_envs.errors import ConfigError

POPULATIONS = ("pbt", "pb2")
"""Schedulers whose trials change their values while they train."""
_NEVER_SWEPT = ("name", "seeds", "sweep", "ablation", "stages", "on_existing")
_CHANGE_WHILE_TRAINING = ("algorithm", "task.rewards")
_REAL = ("uniform", "loguniform", "reverseloguniform")


class SweepSection(Section):
    """Many runs of one experiment that differ in a few values."""

    metric: str = Field(
        default="episode/return", min_length=1, description="Result by which trials are compared."
    )
    mode: Literal["max", "min"] = Field(
        default="max", description="Whether more or less is better."
    )
    aggregate: Literal["iqm", "mean"] = Field(
        default="iqm",
        description="How the seeds of a configuration become one score: interquartile or plain "
        "mean.",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        min_length=1, description="Search space of each dotted key; a bare list is a grid."
    )
    samples: Integer = Field(
        default=1,
        ge=1,
        le=1_000_000,
        description="Draws from the space (each runs through all grids); size of a population.",
    )
    scheduler: dict[str, dict[str, Any]] = Field(
        default={"fifo": {}},
        description="Stops poor trials or changes their values: fifo (neither), asha, "
        "median_stopping, hyperband, pbt or pb2, with arguments.",
    )
    search: dict[str, dict[str, Any]] = Field(
        default={"random": {}}, description="Draws the values: random, or optuna with arguments."
    )
    baseline: bool = Field(
        default=True,
        description="Also run the experiment with no value changed (in a population: one member "
        "starts with the file's values).",
    )
    search_seed: Integer = Field(
        default=0, ge=0, le=2**32 - 1, description="Seed of the search algorithm, 0 to 2**32 - 1."
    )

    @property
    def scheduler_name(self) -> str:
        """Name of the scheduler, a key of ``components.SCHEDULERS``."""
        return next(iter(self.scheduler))

    @property
    def scheduler_args(self) -> dict[str, Any]:
        """Constructor arguments of the Ray scheduler, without metric, mode and time."""
        return dict(self.scheduler[self.scheduler_name])

    @property
    def is_population(self) -> bool:
        """Whether trials change their values while they train."""
        return self.scheduler_name in POPULATIONS

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
        return SearchSpace({key: parse_space(raw) for key, raw in self.parameters.items()})

    def check_seeds(self, count: int) -> None:
        """Refuse several seeds where the scheduler cannot judge a configuration by all of them.

        Raises:
            ConfigError: Says why, and what to do instead.
        """
        if count == 1:
            return
        name, args = self.scheduler_name, self.scheduler_args
        if self.is_population:
            message = (
                f"{name}'s trials copy each other's weights, so seeds do not stay apart; give one "
                "seed and train the best values again under several"
            )
            raise ConfigError("seeds", message)
        if name == "hyperband":
            message = (
                "hyperband pauses and compares single trials, so it cannot judge a configuration "
                "by all its seeds; use asha, or one seed"
            )
            raise ConfigError("seeds", message)
        if args.get("min_time_slice") or not args.get("hard_stop", True):
            message = (
                "median_stopping pauses single trials with these arguments, which takes the seeds "
                "of a configuration apart; leave out min_time_slice and hard_stop, or give one seed"
            )
            raise ConfigError("seeds", message)

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
            written[key] = space.written()
        return written

    @field_validator("scheduler", mode="before")
    @classmethod
    def _known_scheduler(cls, value: Any) -> Any:
        return component("scheduler", value, SCHEDULERS)

    @field_validator("search", mode="before")
    @classmethod
    def _known_search(cls, value: Any) -> Any:
        return component("search", value, SEARCHES)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.scheduler_name != "fifo" and self.metric.startswith("eval/"):
            message = (
                f"{self.scheduler_name} compares trials while they train, and {self.metric} is "
                "measured after the last iteration only; use episode/return, or the fifo scheduler"
            )
            raise ConfigError("metric", message)
        if self.is_population:
            self._check_population()
        for key, space in self.space.spaces.items():
            if problem := self._space_problem(key, space):
                raise ConfigError(f"parameters.{key}", problem)
        return self

    def _check_population(self) -> None:
        name = self.scheduler_name
        if self.search_name != "random":
            raise ConfigError("search", f"{name} chooses the values itself; leave out the search")
        if self.samples < 2:
            message = f"{name} needs a population of at least 2, got {self.samples}"
            raise ConfigError("samples", message)

    def _space_problem(self, key: str, space: Space) -> str | None:
        """Say why the search algorithm or scheduler cannot take a space."""
        if space.kind == "grid" and (self.is_population or self.search_name != "random"):
            chooser = self.scheduler_name if self.is_population else self.search_name
            return f"{chooser} cannot search a grid; write {{choice: [...]}}"
        if not self.is_population:
            return None
        name = self.scheduler_name
        if not any(f"{key}.".startswith(f"{section}.") for section in _CHANGE_WHILE_TRAINING):
            sections = " and ".join(_CHANGE_WHILE_TRAINING)
            return f"cannot change while a trial trains, as {name} asks for; {sections} can"
        if name == "pb2" and (space.kind not in _REAL or space.optional):
            return f"pb2 searches ranges of real numbers only: {', '.join(_REAL)}"
        return None
