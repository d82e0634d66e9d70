"""The experiment: one frozen, validated object that everything else is built from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from stridelab.experiment.messages import first_problem, show
from stridelab.experiment.overrides import plain
from stridelab.experiment.search_space import SearchSpace
from stridelab.experiment.sections import (
    AlgorithmSection,
    AnyAlgorithm,
    AnyModel,
    EstimatorSection,
    HierarchicalSection,
    Integer,
    ModelSection,
    ResourcesSection,
    Section,
    TaskSection,
    TrackingSection,
    TrainSection,
)
from stridelab.experiment.sweep import SweepSection
from stridelab.experiment.yaml_text import dump_yaml
from stridelab_envs.errors import ConfigError
from stridelab_envs.robots import get_robot

if TYPE_CHECKING:
    from stridelab_envs.tasks.config import TaskConfig

Scalar = str | int | float | bool | None
Seed = Annotated[Integer, Field(ge=0, le=2**32 - 1)]
"""Seed of all random numbers of a run, 0 to 2**32 - 1 (what NumPy takes)."""

_NAME_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


class Experiment(Section):
    """Everything that is run: task, model, algorithm, length, resources, seeds, sweep.

    Made by ``load_experiment`` or ``parse_experiment``; it is checked as a whole, so an
    ``Experiment`` that exists can be started.
    """

    name: str = Field(
        min_length=1, max_length=200, description="MLflow experiment; letters, digits and . _ -"
    )
    description: str = Field(
        default="", max_length=5000, description="What it is for, in free words."
    )
    task: TaskSection
    model: AnyModel = Field(default=ModelSection(), description="The networks; `kind` says which.")
    algorithm: AnyAlgorithm = Field(
        default=AlgorithmSection(), description="How it learns; `kind` says which way."
    )
    train: TrainSection
    resources: ResourcesSection = ResourcesSection()
    tracking: TrackingSection = TrackingSection()
    seeds: list[Seed] = Field(
        default=[0], min_length=1, description="One run for each, all different, 0 to 2**32 - 1."
    )
    sweep: SweepSection | None = Field(default=None, description="Its presence makes it a sweep.")

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        # It names folders as well, hence neither "." nor "..".
        if not set(name) <= _NAME_SIGNS or name in (".", ".."):
            raise ConfigError("", f"must hold only letters, digits, . _ and -, got {show(name)}")
        return name

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        for index, seed in enumerate(seeds):
            if seed in seeds[:index]:
                raise ConfigError("", f"must all be different, got {seed} twice")
        return seeds

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check_minibatches()
        self._check_runners()
        self._check_joint_groups()
        self._check_estimator()
        if self.sweep is not None:
            self._check_sweep(self.sweep)
        return self

    def _check_minibatches(self) -> None:
        envs, steps = self.task.num_envs, self.algorithm.num_steps_per_env
        parts = self.algorithm.num_minibatches
        if envs * steps % parts:
            raise ConfigError(
                "algorithm.num_minibatches",
                f"must divide task.num_envs * algorithm.num_steps_per_env = {envs} * {steps} = "
                f"{envs * steps}, got {parts}",
            )

    def _check_runners(self) -> None:
        envs, runners = self.task.num_envs, self.resources.env_runners
        if runners and envs % runners:
            message = f"must divide task.num_envs ({envs}), got {runners}"
            raise ConfigError("resources.env_runners", message)

    def _check_joint_groups(self) -> None:
        if isinstance(self.model, HierarchicalSection):
            return
        initial = self.model.std.initial
        if not isinstance(initial, dict):
            return
        get_robot(self.task_config().robot).per_joint(initial, "model.std.initial")

    def _check_estimator(self) -> None:
        if not isinstance(self.model, EstimatorSection):
            return
        from stridelab.modules.estimator_inputs import check_task  # imported late: torch, MuJoCo

        try:
            check_task(self.task_config(), self.model.short_history)
        except ConfigError as error:
            raise error.under("task") from None

    def _check_sweep(self, sweep: SweepSection) -> None:
        """Try what the search space offers, so that no trial is refused after the start."""
        sweep.check_seeds(len(self.seeds))
        space = sweep.space
        if (
            sweep.is_population
            and self.algorithm.schedule == "adaptive"
            and "algorithm.learning_rate" in space.keys
        ):
            message = (
                "is overruled by algorithm.schedule: adaptive; write algorithm.schedule: fixed, or "
                "sweep algorithm.desired_kl"
            )
            raise ConfigError("sweep.parameters.algorithm.learning_rate", message)
        base = {**self.to_dict(), "sweep": None}
        for key, assignment in space.probes():
            try:
                validate(space.apply(base, assignment))
            except ConfigError as error:
                raise _blame(error, key, assignment) from None

    def task_config(self) -> TaskConfig:
        """Return the task with this experiment's changes."""
        return self.task.resolve()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data in the form of the file; parsing it gives the same experiment."""
        return self.model_dump()

    def to_yaml(self) -> str:
        """Return the whole experiment, defaults included, as a YAML file."""
        return dump_yaml(self.to_dict())

    def with_values(self, values: Mapping[str, Any]) -> Experiment:
        """Return a checked copy with dotted keys set, shorter keys first.

        Args:
            values: For example ``{"algorithm.gamma": 0.995, "task.rewards.upright": 2.0}``.

        Raises:
            ConfigError: A key does not exist or a value is refused.
        """
        return validate(SearchSpace({}).apply(self.to_dict(), values))

    def flat(self) -> dict[str, Scalar]:
        """Return dotted keys and scalar values, for tables and run parameters.

        Lists are written as text. The weights of all rewards of the task are included as
        ``task.rewards.<term>``; a preset's name is ``task.rewards.preset``. The sweep is left
        out: it is no property of a run.
        """
        tree = self.to_dict()
        del tree["sweep"]
        if isinstance(tree["task"].get("rewards"), str):
            tree["task"]["rewards"] = {"preset": tree["task"]["rewards"]}
        flat = dict(_flatten(tree, ""))
        for name, weight in self.task_config().reward_weights().items():
            flat[f"task.rewards.{name}"] = weight
        return flat


def validate(mapping: Mapping[str, Any]) -> Experiment:
    """Return the experiment that ``mapping`` describes.

    Raises:
        ConfigError: Something is wrong; path and one line in plain words.
    """
    try:
        return Experiment.model_validate(plain(mapping))
    except ValidationError as error:
        raise first_problem(error) from None


def _blame(error: ConfigError, key: str, assignment: Mapping[str, Any]) -> ConfigError:
    """Say which swept key an error of a probe belongs to: the one nearest to the error's path."""
    related = [swept for swept in assignment if f"{error.path}.".startswith(f"{swept}.")] or [
        swept for swept in assignment if f"{swept}.".startswith(f"{error.path}.")
    ]
    swept = max(related, key=len) if related else key
    where = "" if error.path == swept else f"{error.path}: "
    return ConfigError(f"sweep.parameters.{swept}", f"{where}{error.message}")


def _flatten(value: Any, path: str) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flatten(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield path, json.dumps(value, ensure_ascii=False)
    else:
        yield path, value
