"""The part of an experiment that names a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from stridelab.experiment.section import Section
from stridelab_envs.errors import ConfigError


class ImitationSection(Section):
    """Learning from a trained policy of the same robot too, less and less."""

    teacher: str | None = Field(
        default=None, min_length=1, description="Its bundle; it looks at single frames."
    )
    task_teachers: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], description="Instead: hierarchical policies, each the teacher of its own task."
    )
    guides: list[str] = Field(
        default=[],
        description="Tasks whose hand-written guide teaches, alone or beside task_teachers.",
    )
    guide_weight: float = Field(
        default=1.0, gt=0.0, description="How much more a guide's states count than a teacher's."
    )
    coef: float = Field(
        default=1.0,
        gt=0.0,
        description="Weight at first of the divergence from the teacher's mean action, above 0.",
    )
    until: float = Field(
        default=1.0, gt=0.0, le=1.0, description="Part of the training after which it is 0."
    )

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if self.teacher is None and not self.is_by_task:
            raise ConfigError("teacher", "is missing")
        if self.teacher is not None and self.is_by_task:
            other = "task_teachers" if self.task_teachers else "guides"
            raise ConfigError(other, "cannot stand beside teacher")
        return self

    @property
    def is_by_task(self) -> bool:
        """Whether tasks have teachers of their own."""
        return bool(self.task_teachers or self.guides)

    @property
    def teachers(self) -> list[str]:
        """The bundles, one or several."""
        return [self.teacher] if self.teacher is not None else self.task_teachers

    @property
    def is_portable(self) -> bool:
        """Whether the bundles are found from the repository's root, on any machine."""
        return not any(Path(teacher).is_absolute() for teacher in self.teachers)

    def weight(self, fraction: float) -> float:
        """Return the weight when ``fraction`` of the training is over, 0 to 1."""
        return self.coef * max(0.0, 1.0 - fraction / self.until)
