"""The ablation section: which terms are switched off, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stridelab.experiment.messages import show
from stridelab.experiment.sections import Section
from stridelab_envs.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from stridelab_envs.tasks.config import TaskConfig

Terms = list[str] | Literal["all"]
_TABLES = {"rewards": "reward", "randomization": "randomization"}


class AblationSection(Section):
    """What every term is worth: train with all of them, and once without each.

    At least one term must be named. Every configuration runs under every seed.
    """

    metric: str = Field(
        min_length=1, description="Result by which the loss of a term is told; no sum of rewards."
    )
    mode: Literal["max", "min"] = Field(
        default="max", description="Whether more or less is better."
    )
    rewards: Terms = Field(default=[], description="Names of rewards, or all that have a weight.")
    randomization: Terms = Field(default=[], description="Names of randomisations, or all.")

    @field_validator("rewards", "randomization", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        if value == "all":
            return value
        if not isinstance(value, list):
            raise ConfigError("", f'must be a list of names or "all", got {show(value)}')
        for index, name in enumerate(value):
            if not isinstance(name, str):
                raise ConfigError("", f"must hold names, got {show(name)}")
            if name in value[:index]:
                raise ConfigError("", f"holds {show(name)} twice")
        return value

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.rewards and not self.randomization:
            raise ConfigError("", "must name rewards or randomization to switch off")
        if self.rewards and self.metric == "episode/return":
            message = (
                "changes by itself when a reward is switched off; use a metric of the task, such "
                "as eval/survival_rate"
            )
            raise ConfigError("metric", message)
        return self

    def switches(self, task: TaskConfig) -> dict[str, None]:
        """Return the dotted key of each term to switch off.

        Raises:
            ConfigError: A term is unknown or off already; the path is relative to the section.
        """
        known = {
            "rewards": {name: bool(w) for name, w in task.reward_weights().items()},
            "randomization": dict.fromkeys(task.randomization, True),
        }
        keys: dict[str, None] = {}
        for table, kind in _TABLES.items():
            on = known[table]
            named = getattr(self, table)
            for name in [name for name, is_on in on.items() if is_on] if named == "all" else named:
                if name not in on:
                    raise ConfigError(table, unknown_name(kind, name, on))
                if not on[name]:
                    raise ConfigError(table, f"{show(name)} has weight 0, so it is off already")
                keys[f"task.{table}.{name}"] = None
        if not keys:
            raise ConfigError("", "switches nothing off: the task has no term that is on")
        return keys
