"""The sections of an experiment file; every default of the platform stands here, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    SerializeAsAny,
    Tag,
    field_validator,
    model_validator,
)

from stridelab.experiment.durations import duration_s
from stridelab.experiment.hierarchical_section import HierarchicalSection
from stridelab.experiment.imitation_section import ImitationSection
from stridelab.experiment.installed import ALGORITHMS, MODULES, installed_section, is_installed
from stridelab.experiment.messages import CHOICE, nearest, not_listed, show
from stridelab.experiment.section import Integer, Section, Width
from stridelab_envs.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from stridelab_envs.tasks.config import TaskConfig


class TaskSection(Section):
    """Which task, how many environments, and what differs from the task's own settings.

    Every other key (``rewards``, ``terminations``, ``randomization``, ``observations``,
    ``commands``, ``episode_length_s``, ...) belongs to the task and is checked by it.
    """

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="Name of a registered task; `stridelab tasks` lists them.")
    num_envs: Integer = Field(
        default=1024, ge=1, le=1_000_000, description="Environments simulated at once, from 1."
    )

    @property
    def overrides(self) -> dict[str, Any]:
        """The task's own keys as written in the file, for ``TaskConfig.with_overrides``."""
        return dict(self.model_extra or {})

    def resolve(self) -> TaskConfig:
        """Return the task with this section's changes.

        Raises:
            ConfigError: There is no such task or it refuses a change; the path is relative to
                the task section.
        """
        from stridelab_envs.registry import get_task  # imported late: it loads every task

        try:
            task = get_task(self.id)
        except ConfigError as error:
            raise ConfigError("id", error.message) from None
        for key in self.overrides:
            if not hasattr(task, key) and nearest(key, ("id", "num_envs"), cutoff=0.75):
                raise ConfigError(key, unknown_name("key", key, ("id", "num_envs")))
        return task.with_overrides(self.overrides)

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        self.resolve()
        return self


class StdSection(Section):
    """Standard deviation of the actions while exploring, in units of the raw action."""

    kind: Literal["free", "state_dependent"] = Field(
        default="free",
        description="free: one learned number a joint; state_dependent: an output of the network.",
    )
    initial: float | dict[str, float] = Field(
        default=1.0,
        description="Value at the start, above 0: one number, or one for each joint group.",
    )
    min: float = Field(default=1e-3, gt=0.0, description="Lower bound, above 0.")
    max: float = Field(default=10.0, gt=0.0, description="Upper bound, above `min`.")

    scale_mean: bool = Field(
        default=False,
        description="The network puts out means in units of `initial`: small values learn evenly.",
    )

    @field_validator("initial", mode="plain")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        entries = value.items() if isinstance(value, dict) else [("", value)]
        if isinstance(value, dict) and not value:
            raise ConfigError("", "must hold at least one joint group")
        for group, number in entries:
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ConfigError(group, f"must be a number, got {show(number)}")
            if number <= 0:
                raise ConfigError(group, f"must be above 0, got {number}")
        return {k: float(v) for k, v in entries} if isinstance(value, dict) else float(value)

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.min >= self.max:
            raise ConfigError("min", f"must be below max ({self.max}), got {self.min}")
        entries = self.initial.items() if isinstance(self.initial, dict) else [("", self.initial)]
        for group, number in entries:
            if not self.min <= number <= self.max:
                message = f"must be between min ({self.min}) and max ({self.max}), got {number}"
                raise ConfigError(f"initial.{group}" if group else "initial", message)
        return self


BUILT_IN_MODULES = ("actor_critic", "estimator", "hierarchical")
"""Values of ``model.kind`` that need no further package."""


class ModelSection(Section):
    """The policy and value networks."""

    kind: Literal["actor_critic"] = Field(
        default="actor_critic",
        description="actor_critic: two multi-layer perceptrons; or estimator, hierarchical.",
    )
    actor_hidden: list[Width] = Field(
        default=[256, 128, 64],
        min_length=1,
        description="Units of the policy's hidden layers, 1-65536.",
    )
    critic_hidden: list[Width] = Field(
        default=[256, 128, 64],
        min_length=1,
        description="Units of the critic's hidden layers, 1-65536.",
    )
    activation: Literal["elu", "relu", "tanh"] = Field(
        default="elu", description="Function between the layers."
    )
    normalize_observations: bool = Field(
        default=True, description="Scale observations by their running mean and deviation."
    )
    std: StdSection = StdSection()

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, kind: Any) -> Any:
        if kind != cls.model_fields["kind"].default:  # that of an installed module is its own
            raise ConfigError("", not_listed(kind, (*BUILT_IN_MODULES, *MODULES.names())))
        return kind


class EstimatorSection(Section):
    """The networks of a policy that estimates its own velocity; defaults are those of X1."""

    kind: Literal["estimator"] = Field(
        description="estimator: history encoder, velocity estimator, privileged critic."
    )
    short_history: Integer = Field(
        default=5, ge=1, description="Newest frames that actor and estimator see, from 1."
    )
    estimator_hidden: list[Width] = Field(
        default=[256, 128, 64],
        min_length=1,
        description="Units of the estimator's hidden layers, 1-65536.",
    )
    actor_hidden: list[Width] = Field(
        default=[512, 256, 128],
        min_length=1,
        description="Units of the policy's hidden layers, 1-65536.",
    )
    critic_hidden: list[Width] = Field(
        default=[768, 256, 128],
        min_length=1,
        description="Units of the critic's hidden layers, 1-65536.",
    )
    estimator_loss_coef: float = Field(
        default=1.0, ge=0.0, description="Weight of the estimator's squared error, from 0."
    )
    detach_estimate: bool = Field(
        default=False, description="Keep the policy's gradient out of the estimator."
    )
    std: StdSection = StdSection()

    @model_validator(mode="after")
    def _free_std(self) -> Self:
        if self.std.kind != "free":
            message = f"must be free for the module estimator, got {show(self.std.kind)}"
            raise ConfigError("std.kind", message)
        return self


def _choice(value: Any) -> str:
    """Return which model section a value is for; what is none of them is refused by the first."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    if is_installed(MODULES, value):
        return CHOICE + "installed"
    built_in = kind if isinstance(kind, str) and kind in BUILT_IN_MODULES else BUILT_IN_MODULES[0]
    return CHOICE + built_in


def _installed_module(value: Any) -> ModelSection:
    return installed_section(MODULES, ModelSection, value)


AnyModel = Annotated[
    Annotated[ModelSection, Tag(CHOICE + "actor_critic")]
    | Annotated[EstimatorSection, Tag(CHOICE + "estimator")]
    | Annotated[HierarchicalSection, Tag(CHOICE + "hierarchical")]
    | Annotated[
        SerializeAsAny[ModelSection], PlainValidator(_installed_module), Tag(CHOICE + "installed")
    ],
    Discriminator(_choice),
]
"""The section ``model``: its ``kind`` says which."""


class SymmetrySection(Section):
    """Learning that left and right are alike, from the robot's mirror map."""

    augmentation: bool = Field(
        default=False, description="Learn from the mirror image of every sample too."
    )
    mirror_loss_coef: float = Field(
        default=0.0,
        ge=0.0,
        description="Weight of the policy's squared difference from its mirror image, from 0.",
    )

    @property
    def is_on(self) -> bool:
        """Whether mirror images are needed."""
        return self.augmentation or self.mirror_loss_coef > 0.0


class AlgorithmSection(Section):
    """How the policy learns."""

    kind: Literal["ppo"] = Field(default="ppo", description="ppo: proximal policy optimisation.")
    num_steps_per_env: Integer = Field(
        default=24,
        ge=1,
        le=100_000,
        description="Control steps of each environment in one iteration.",
    )
    num_epochs: Integer = Field(
        default=5, ge=1, le=1000, description="Passes over the samples of one iteration."
    )
    num_minibatches: Integer = Field(
        default=4,
        ge=1,
        description="Equal parts of a pass; num_envs * num_steps_per_env must divide.",
    )
    learning_rate: float = Field(
        default=1e-3, gt=0.0, le=1.0, description="Step size of Adam (at the start, unless fixed)."
    )
    schedule: Literal["adaptive", "fixed", "linear"] = Field(
        default="adaptive",
        description="Learning rate: adaptive follows `desired_kl`, linear falls to 0 at the end.",
    )
    desired_kl: float = Field(
        default=0.01, gt=0.0, description="KL divergence [nat] that the adaptive schedule aims at."
    )
    gamma: float = Field(
        default=0.99, gt=0.0, le=1.0, description="Discount of a step, above 0, to 1."
    )
    gae_lambda: float = Field(
        default=0.95,
        ge=0.0,
        le=1.0,
        description="Trace of the advantages: 0 one step, 1 whole returns.",
    )
    clip_param: float = Field(
        default=0.2, gt=0.0, description="How far a probability ratio may leave 1, above 0."
    )
    clip_value_loss: bool = Field(
        default=True, description="Clip the value's change by `clip_param` too."
    )
    value_loss_coef: float = Field(
        default=1.0, ge=0.0, description="Weight of the value loss, from 0."
    )
    entropy_coef: float = Field(
        default=0.01, ge=0.0, description="Weight of the entropy bonus, from 0."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0.0, description="Largest norm of the gradient; longer ones are shortened."
    )
    symmetry: SymmetrySection = SymmetrySection()
    reward_scale: float = Field(
        default=1.0,
        gt=0.0,
        description="Factor on rewards in learning alone, above 0: keeps values near 1.",
    )
    normalize_advantages_by: str | None = Field(
        default=None,
        description="One-hot observation term, to normalise within its groups; null = over all.",
    )
    imitation: ImitationSection | None = Field(
        default=None, description="Learn from a trained policy too, less and less."
    )
    asynchronous: bool = Field(
        default=False, description="Sample while learning, with the policy of one iteration before."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="bf16", description="Number format of matrix products in learning."
    )
    compile: bool = Field(
        default=False,
        description="Compile the loss: needs a C++ compiler and a minute, pays in long runs.",
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _known_kind(cls, kind: Any) -> Any:
        if kind != cls.model_fields["kind"].default:
            raise ConfigError("", not_listed(kind, ("ppo", *ALGORITHMS.names())))
        return kind


def _algorithm_choice(value: Any) -> str:
    return CHOICE + ("installed" if is_installed(ALGORITHMS, value) else "ppo")


def _installed_algorithm(value: Any) -> AlgorithmSection:
    return installed_section(ALGORITHMS, AlgorithmSection, value)


AnyAlgorithm = Annotated[
    Annotated[AlgorithmSection, Tag(CHOICE + "ppo")]
    | Annotated[
        SerializeAsAny[AlgorithmSection],
        PlainValidator(_installed_algorithm),
        Tag(CHOICE + "installed"),
    ],
    Discriminator(_algorithm_choice),
]
"""The section ``algorithm``: its ``kind`` says which."""


class TrainSection(Section):
    """How long to train and what to keep."""

    env_steps: Integer = Field(
        ge=1, le=10**15, description="Control steps of all environments together, from 1."
    )
    start_from: str | None = Field(
        default=None,
        min_length=1,
        description="Policy bundle or checkpoint whose weights to begin with; null = random ones.",
    )
    fresh_std: bool = Field(
        default=False,
        description="Begin `start_from` with `model.std.initial` instead of the policy's own.",
    )
    checkpoint_every: Integer = Field(
        default=50, ge=1, description="Iterations between two checkpoints, from 1."
    )
    keep_checkpoints: Integer = Field(
        default=2, ge=1, description="Newest checkpoints kept, from 1."
    )
    video: bool = Field(default=True, description="Film the trained policy.")
    evaluate_episodes: Integer = Field(
        default=64,
        ge=0,
        le=1_000_000,
        description="Episodes of the evaluation at the end; 0 = none.",
    )


class ResourcesSection(Section):
    """What the runs may use of the machine or cluster."""

    env_runners: Integer = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Simulation processes; 0 = inside the learner's process.",
    )
    cpus_per_runner: float = Field(
        default=1.0, gt=0.0, description="CPU cores [count] of each simulation process, above 0."
    )
    cpus_per_trial: float | None = Field(
        default=None,
        gt=0.0,
        description="CPU cores [count] of a trial; null = all, for a single run.",
    )
    gpus_per_learner: float = Field(
        default=0.0,
        ge=0.0,
        description="GPUs [count] of the learner, from 0; fractions share a GPU.",
    )
    max_concurrent: Integer | None = Field(
        default=None, ge=1, description="Trials at once, from 1; null = as many as fit."
    )
    time_budget: str | None = Field(
        default=None,
        description="Time after which the study stops, to be resumed: 90m, 12h or 2d; null = none.",
    )
    storage_path: str = Field(
        default="runs", min_length=1, description="Folder or object-store address for all results."
    )
    max_failures: Integer = Field(
        default=3,
        ge=0,
        description="Times a failed trial starts again from its checkpoint, from 0.",
    )

    @property
    def time_budget_s(self) -> float | None:
        """The time budget [s]."""
        return None if self.time_budget is None else duration_s(self.time_budget)

    @field_validator("time_budget")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            duration_s(value)
        return value

    @field_validator("gpus_per_learner")
    @classmethod
    def _whole_gpus(cls, value: float) -> float:
        # Ray shares one GPU between processes, but gives no process one and a half.
        if value > 1 and not value.is_integer():
            raise ConfigError("", f"must be at most 1 or a whole number, got {value:g}")
        return value


class TrackingSection(Section):
    """Where MLflow keeps the runs."""

    uri: str | None = Field(
        default=None,
        min_length=1,
        description="MLflow address; null = SQLite file in the storage path.",
    )
    system_metrics: bool = Field(default=True, description="Record CPU, memory and GPU use.")
