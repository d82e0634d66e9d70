"""A guide as a teacher: what it advises, as the distribution of a hierarchical policy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stridelab.modules.hierarchical import Hierarchical
from stridelab.skills.guides import GUIDES

_CERTAIN = 10.0
"""Logit of the advised skill; minus this that of the others."""
_COMMAND_STD = 0.2
"""Of the advised commands, in the units of the command head."""
_RESIDUAL_STD = 0.13
_GOAL = "goal_"


class GuideTeacher:
    """What a guide would choose, as inputs of the student's distribution.

    Args:
        task: Whose guide it is.
        student: The policy that learns: its skills and the scale of its commands are used.
        layout: Where each term lies in a frame of the group ``policy``.
    """

    def __init__(self, task: str, student: Hierarchical, layout: Mapping[str, slice]) -> None:
        self._guide, self._student = GUIDES[task], student
        self._parts = {
            name.removeprefix(_GOAL): columns
            for name, columns in layout.items()
            if name.startswith(_GOAL)
        }
        self._numbers = {
            str(skill["name"]): number
            for number, skill in enumerate(student.model_config["skills"])
        }

    def __call__(self, frames: Tensor) -> Tensor:
        """Return the advice for raw ``frames (n, size)``, ``(n, input_size)``; residual 0."""
        advice = self._guide({name: frames[:, part] for name, part in self._parts.items()})
        shape, skills = self._student.action_shape, self._student.skills
        count = frames.shape[0]
        logits = frames.new_full((count, shape.num_skills), -_CERTAIN)
        for name, advised in advice.skill.items():
            logits[advised, self._numbers[name]] = _CERTAIN
        command = frames.new_zeros(count, shape.command_size)
        for name, value in advice.command.items():
            command[:, skills.columns[name]] = value
        command = command.clamp(self._student.command_low, self._student.command_high)
        centre, half = self._student.scaling
        spread = torch.full_like(command, math.log(_COMMAND_STD))
        mean = frames.new_zeros(count, shape.num_actions)
        log_std = torch.full_like(mean, math.log(_RESIDUAL_STD))
        context = frames.new_zeros(count, 3)
        context[:, -1] = (self._student.residual_clip > 0).to(context.dtype)
        heads = [logits, (command - centre) / half, spread, mean, log_std, context]
        return torch.cat(heads, dim=-1)
