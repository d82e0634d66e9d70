"""The experiment: one frozen, validated object that everything else is built from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from stridelab.experiment.ablation import AblationSection
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
from stridelab.experiment.stages import StageSection, check_stages
from stridelab.experiment.sweep import SweepSection
from stridelab.experiment.yaml_text import dump_yaml
from stridelab_envs.errors import ConfigError
from stridelab_envs.robots import get_robot

if TYPE_CHECKING:
    from stridelab_envs.tasks.config import TaskConfig

Scalar = str | int | float | bool | None
Seed = Annotated[Integer, Field(ge=0, le=2**32 - 1)]
"""Seed of all random numbers of a run, 0 to 2**32 - 1 (what NumPy takes)."""

_NO_PROPERTIES_OF_A_RUN = ("sweep", "ablation", "stages", "on_existing")
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
    on_existing: Literal["resume", "restart", "refuse"] = Field(
        default="restart",
        description="When there is a study of this name: resume it, start another one beside it, "
        "or refuse.",
    )
    sweep: SweepSection | None = Field(default=None, description="Its presence makes it a sweep.")
    ablation: AblationSection | None = Field(
        default=None, description="Switches terms off one at a time; its presence makes it a sweep."
    )
    stages: list[StageSection] = Field(
        default=[], description="Parts of the training, each from the policy of the one before."
    )

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
        self._check_symmetry()
        self._check_imitation()
        if self.sweep is not None and self.ablation is not None:
            raise ConfigError("ablation", "cannot stand beside a sweep; make two files of it")
        if self.sweep is not None:
            self._check_sweep(self.sweep)
        self._check_stages()
        if self.sweep is not None or self.ablation is not None:
            self._check_probes()
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

    def _check_symmetry(self) -> None:
        if not self.algorithm.symmetry.is_on:
            return
        from stridelab.modules.kinds import module_class  # imported late: torch, MuJoCo
        from stridelab_envs.mirror import TaskMirror

        if not module_class(self.model.kind).symmetric:
            raise ConfigError(
                "algorithm.symmetry",
                f"cannot be used with the module {self.model.kind}: its actions have no mirror "
                "image",
            )
        try:
            TaskMirror(self.task_config())
        except ConfigError as error:
            raise error.under("task") from None

    def _check_imitation(self) -> None:
        imitation = self.algorithm.imitation
        if imitation is None or not imitation.is_by_task:
            return
        if not isinstance(self.model, HierarchicalSection):
            key = "task_teachers" if imitation.task_teachers else "guides"
            message = f"teaches a hierarchical policy, got model.kind: {self.model.kind}"
            raise ConfigError(f"algorithm.imitation.{key}", message)

    def _check_sweep(self, sweep: SweepSection) -> None:
        sweep.check_seeds(len(self.seeds))
        if sweep.is_population and self.stages:
            message = f"{sweep.scheduler_name} changes values while training; run stages after it"
            raise ConfigError("stages", message)
        key = "algorithm.learning_rate"
        if sweep.is_population and self.algorithm.schedule != "fixed" and key in sweep.parameters:
            message = f"is overruled by algorithm.schedule: {self.algorithm.schedule}; write fixed"
            raise ConfigError(f"sweep.parameters.{key}", message)

    def _check_stages(self) -> None:
        if not self.stages:
            return
        check_stages(self.stages, tuple(self.differences))
        first = None
        for index, stage in enumerate(self.stages):
            try:
                robot = self.stage(stage).task_config().robot
            except ConfigError as error:
                related = [key for key in stage.values if f"{error.path}.".startswith(f"{key}.")]
                key = max(related, key=len, default="")
                where = "" if error.path == key else f"{error.path}: "
                path = f"stages[{index}].{key}" if key else f"stages[{index}]"
                raise ConfigError(path, f"{where}{error.message}") from None
            first = first or robot
            if robot != first:
                message = f"has the robot {robot}, but the first stage has {first}"
                raise ConfigError(f"stages[{index}]", message)

    def _check_probes(self) -> None:
        """Try what the trials may get, so that none of them is refused after the start."""
        bases = [self.stage(stage) for stage in self.stages] or [self]
        for base in bases:
            tree = base.single()
            for key, assignment in self._probes():
                try:
                    validate(SearchSpace({}).apply(tree, assignment))
                except ConfigError as error:
                    raise self._blamed(error, key, assignment) from None

    def _probes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.sweep is not None:
            yield from self.sweep.space.probes()
        for key in self.switches:
            yield key, {key: None}

    def _blamed(self, error: ConfigError, key: str, assignment: Mapping[str, Any]) -> ConfigError:
        if self.ablation is not None:
            return ConfigError(f"ablation.{key.split('.')[1]}", str(error))
        return _blame(error, key, assignment)

    @property
    def is_sweep(self) -> bool:
        """Whether configurations are compared, by a sweep or an ablation."""
        return self.sweep is not None or self.ablation is not None

    @property
    def switches(self) -> dict[str, None]:
        """Dotted keys that the ablation sets to null, one at a time; empty without one."""
        if self.ablation is None:
            return {}
        try:
            return self.ablation.switches(self.task_config())
        except ConfigError as error:
            raise error.under("ablation") from None

    @property
    def differences(self) -> tuple[str, ...]:
        """Dotted keys in which the trials differ."""
        return (*(self.sweep.parameters if self.sweep else ()), *self.switches)

    def single(self) -> dict[str, Any]:
        """Return plain data of one run: without sweep, ablation and stages."""
        return {**self.to_dict(), "sweep": None, "ablation": None, "stages": []}

    def stage(self, stage: StageSection) -> Experiment:
        """Return the experiment as it is in one stage, without the others.

        Raises:
            ConfigError: A key of the stage does not exist or a value is refused.
        """
        return validate(SearchSpace({}).apply({**self.to_dict(), "stages": []}, stage.values))

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
        ``task.rewards.<term>``; a preset's name is ``task.rewards.preset``. Sweep, ablation and
        stages are left out: they are no properties of a run.
        """
        tree = self.to_dict()
        for key in _NO_PROPERTIES_OF_A_RUN:
            del tree[key]
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
