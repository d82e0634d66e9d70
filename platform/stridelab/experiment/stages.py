"""The stages of a training: each goes on with the policy of the one before."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from stridelab.experiment.messages import show
from stridelab.experiment.sections import Section
from stridelab_envs.errors import ConfigError

_NAME_SIGNS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_EXAMPLES = {
    "task": "task.rewards",
    "algorithm": "algorithm.learning_rate",
    "train": "train.env_steps",
}
_ALLOWED = tuple(_EXAMPLES)


class StageSection(Section):
    """One stage of several: what differs from the experiment, and where it begins.

    Every other key is a dotted key of the experiment with its value in this stage, for example
    ``task.rewards: v7``; only those of ``task``, ``algorithm`` and ``train`` may differ.
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field(
        min_length=1, max_length=50, description="Names the stage; letters, digits, _ and -"
    )
    start: Literal["best", "last"] | None = Field(
        default=None,
        description="Checkpoint of the stage before that this one begins with: the best by the "
        "study's metric (also when null), or the last.",
    )

    @property
    def values(self) -> dict[str, Any]:
        """Dotted key to value, as written in the file."""
        return dict(self.model_extra or {})

    @property
    def starts_from_best(self) -> bool:
        """Whether the best checkpoint of the stage before is taken, not the last."""
        return self.start != "last"

    @field_validator("name")
    @classmethod
    def _usable_name(cls, name: str) -> str:
        if not set(name) <= _NAME_SIGNS:
            raise ConfigError("", f"must hold only letters, digits, _ and -, got {show(name)}")
        return name


def check_stages(stages: list[StageSection], swept: tuple[str, ...]) -> None:
    """Refuse stages that contradict each other or what is swept.

    Args:
        stages: The stages in order.
        swept: Dotted keys that the trials differ in.

    Raises:
        ConfigError: With a path below ``stages``.
    """
    for index, stage in enumerate(stages):
        path = f"stages[{index}]"
        if stage.name in [earlier.name for earlier in stages[:index]]:
            raise ConfigError(f"{path}.name", f"{show(stage.name)} names an earlier stage already")
        if index == 0 and stage.start is not None:
            raise ConfigError(f"{path}.start", "the first stage has none before it to start from")
        for key in stage.values:
            where = f"{path}.{key}"
            if key.split(".")[0] not in _ALLOWED:
                message = f"cannot differ between stages; only {', '.join(_ALLOWED)} can"
                raise ConfigError(where, message)
            if "." not in key:
                example = _EXAMPLES[key]
                raise ConfigError(where, f"is a whole section; write dotted keys such as {example}")
            if key == "train.start_from" and index:
                raise ConfigError(where, "a later stage starts from the stage before it")
            if key in swept:
                raise ConfigError(where, "is what the trials differ in, so no stage can set it")
