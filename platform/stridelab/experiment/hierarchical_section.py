"""The section of a policy that chooses among skills."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stridelab.experiment.section import Integer, Section, Width


class ResidualSection(Section):
    """What the high-level policy may add to a skill's action; nothing in the first phase."""

    clip: float = Field(
        default=0.05, ge=0.0, description="Largest residual in units of action, from 0 (never)."
    )
    start: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Fraction of training at which it begins, 0-1."
    )


class GatingEntropySection(Section):
    """Pay for an undecided choice of skills, less and less."""

    coef: float = Field(
        default=0.0, ge=0.0, description="Weight of the choice's entropy at the start, from 0."
    )
    until: float = Field(
        default=0.5, gt=0.0, le=1.0, description="Fraction of training at which it has come to 0."
    )


class CurriculumSection(Section):
    """A narrower range for one number of the command, early in training."""

    range: list[float] = Field(
        min_length=2, max_length=2, description="[low, high] in the skill's units."
    )
    until: float = Field(
        gt=0.0, le=1.0, description="Fraction of training at which the skill's own range returns."
    )


class HierarchicalSection(Section):
    """A policy that chooses among trained skills; defaults are those of the H1."""

    kind: Literal["hierarchical"] = Field(
        description="hierarchical: a skill, its command and a residual; the skills are frozen."
    )
    skills: str = Field(min_length=1, description="Skills file, relative to the working folder.")
    hold_steps: Integer = Field(
        default=3, ge=1, le=10_000, description="Control steps for which a skill is kept, from 1."
    )
    hold_command: bool = Field(
        default=False,
        description="Keep a command as long as its skill; else it is drawn anew at every step.",
    )
    gating: str = Field(
        default="learned",
        min_length=1,
        description="learned; random: skills are drawn blindly; or the only skill to be executed.",
    )
    actor_hidden: list[Width] = Field(
        default=[512, 256, 128],
        min_length=1,
        description="Units of the policy's hidden layers, 1-65536.",
    )
    critic_hidden: list[Width] = Field(
        default=[512, 256, 128],
        min_length=1,
        description="Units of the critic's hidden layers, 1-65536.",
    )
    normalize_observations: bool = Field(
        default=True, description="Scale observations by their running mean and deviation."
    )
    gating_entropy: GatingEntropySection = GatingEntropySection()
    command_head: Literal["affine", "raw"] = Field(
        default="affine",
        description="affine: -1 and 1 are the ends of a command's range; raw: the skill's units.",
    )
    command_std: float = Field(
        default=0.37,
        ge=0.0068,
        le=7.38,
        description="Deviation of commands at the start, in the head's units; affine: below 1.",
    )
    likelihood: Literal["executed", "document"] = Field(
        default="executed",
        description="executed: count what had an effect; document: the training document's terms.",
    )
    residual: ResidualSection = ResidualSection()
    curriculum: dict[str, dict[str, CurriculumSection]] = Field(
        default={}, description="Narrower ranges at first, by skill and name of the number."
    )
