"""The part of an experiment that names a teacher."""

from __future__ import annotations

from pydantic import Field

from stridelab.experiment.section import Section


class ImitationSection(Section):
    """Learning from a trained policy of the same robot too, less and less."""

    teacher: str = Field(min_length=1, description="Its bundle; it looks at single frames.")
    coef: float = Field(
        default=1.0,
        gt=0.0,
        description="Weight at first of the divergence from the teacher's mean action, above 0.",
    )
    until: float = Field(
        default=1.0, gt=0.0, le=1.0, description="Part of the training after which it is 0."
    )
