"""The distribution of a high-level action: which skill, its command, a residual.

An action is stored as it was sampled: skill, whether it was held, raw command, raw residual. From
these its probability can be computed again under any later policy. A skill that is held was not
sampled, nor is its command if that is held too; numbers of the command that the skill does not read
have no effect, and neither has the residual while it is switched off; none of these count in
probabilities, entropies and divergences.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from torch import Tensor

from stridelab.modules.distributions import (
    gaussian_divergence,
    gaussian_entropy,
    gaussian_log_density,
)

LOGP_BOUND = 100.0
"""Log-probabilities are clamped to plus or minus this, as the training document has it."""


class HighLevelAction(NamedTuple):
    """The parts of a stored action."""

    skill: Tensor
    """Number of the executed skill, ``(...)`` int64."""
    held: Tensor
    """1 where the skill was kept from the step before and not sampled, else 0, ``(...)``."""
    command: Tensor
    """Command as sampled, before any clamp, ``(..., command_size)``."""
    residual: Tensor
    """Residual as sampled, before any clip, ``(..., num_actions)``."""


class Heads(NamedTuple):
    """The parts of a distribution's inputs."""

    logits: Tensor
    """``(..., num_skills)``."""
    command_mean: Tensor
    """``(..., command_size)``."""
    command_log_std: Tensor
    """``(..., command_size)``."""
    residual_mean: Tensor
    """``(..., num_actions)``."""
    residual_log_std: Tensor
    """``(..., num_actions)``."""
    held: Tensor
    """1 where no skill is sampled but ``skill`` kept, ``(...)``."""
    skill: Tensor
    """The skill that is kept; of no meaning elsewhere, ``(...)``."""
    residual_on: Tensor
    """1 where the residual is executed, ``(...)``."""


@dataclass(frozen=True)
class ActionShape:
    """Sizes of a high-level action and what each skill reads of the command."""

    used: tuple[tuple[bool, ...], ...]
    """For each skill, which numbers of the command it reads; spare ones only if they are to count
    in probabilities."""
    num_actions: int
    """Width of the residual."""
    literal: bool = False
    """Count the residual while it is switched off, and in entropy and divergence everything, as
    the training document has it."""
    hold_command: bool = False
    """A held skill keeps its command too, so that none is sampled."""

    @property
    def num_skills(self) -> int:
        """Number of skills."""
        return len(self.used)

    @property
    def command_size(self) -> int:
        """Width of the command."""
        return len(self.used[0])

    @property
    def action_size(self) -> int:
        """Width of a stored action."""
        return 2 + self.command_size + self.num_actions

    @property
    def input_size(self) -> int:
        """Width of a distribution's inputs."""
        return self.num_skills + 2 * self.command_size + 2 * self.num_actions + 3

    def split_action(self, action: Tensor) -> HighLevelAction:
        """Part stored actions ``(..., action_size)``."""
        head, command, residual = action.split([2, self.command_size, self.num_actions], dim=-1)
        return HighLevelAction(head[..., 0].long(), head[..., 1], command, residual)

    def join_action(self, action: HighLevelAction) -> Tensor:
        """Return actions as they are stored, ``(..., action_size)``."""
        head = torch.stack([action.skill.to(action.command.dtype), action.held], dim=-1)
        return torch.cat([head, action.command, action.residual], dim=-1)

    def split_inputs(self, inputs: Tensor) -> Heads:
        """Part a distribution's inputs ``(..., input_size)``."""
        command, actions = self.command_size, self.num_actions
        sizes = [self.num_skills, command, command, actions, actions, 3]
        *parts, context = inputs.split(sizes, dim=-1)
        return Heads(*parts, *context.unbind(dim=-1))


class HierarchicalDistribution(Distribution):
    """Categorical over skills, normal over command and residual.

    Make a class for the skills at hand with :meth:`shaped`.

    Args:
        heads: Outputs of the policy and what is held.
    """

    shape: ClassVar[ActionShape]

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    @classmethod
    def shaped(cls, shape: ActionShape) -> type[HierarchicalDistribution]:
        """Return the class of distributions over actions of this shape."""
        return type(cls.__name__, (cls,), {"shape": shape})

    @classmethod
    def required_input_dim(cls, space: Any, **kwargs: Any) -> int:
        """Width of the module's output."""
        return cls.shape.input_size

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> HierarchicalDistribution:
        """Take the inputs ``(..., input_size)`` apart."""
        return cls(cls.shape.split_inputs(logits))

    @property
    def log_std(self) -> Tensor:
        """Log standard deviations of the command, ``(..., command_size)``."""
        return self.heads.command_log_std

    def sample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Draw a skill where none is held, a command and a residual, ``(..., action_size)``."""
        with torch.no_grad():
            heads = self.heads
            probabilities = heads.logits.softmax(dim=-1)
            drawn = torch.multinomial(probabilities.flatten(0, -2), 1).view(heads.held.shape)
            command = heads.command_mean + heads.command_log_std.exp() * torch.randn_like(
                heads.command_mean
            )
            residual = heads.residual_mean + heads.residual_log_std.exp() * torch.randn_like(
                heads.residual_mean
            )
            return self._action(drawn, command, residual)

    def rsample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Refuse: the choice of a skill carries no gradient.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a choice of skills cannot be sampled with a gradient")

    def mode(self) -> Tensor:
        """Return the likeliest skill where none is held, and the means, ``(..., action_size)``."""
        heads = self.heads
        return self._action(heads.logits.argmax(dim=-1), heads.command_mean, heads.residual_mean)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the distribution that always gives :meth:`mode`."""
        return TorchDeterministic(loc=self.mode())

    def _action(self, chosen: Tensor, command: Tensor, residual: Tensor) -> Tensor:
        held = self.heads.held
        skill = torch.where(held > 0, self.heads.skill.long(), chosen)
        return self.shape.join_action(HighLevelAction(skill, held, command, residual))

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Log-probability of stored actions ``(..., action_size)``, within :data:`LOGP_BOUND`.

        Whether a skill was held, and which, is taken from the action.
        """
        heads, action = self.heads, self.shape.split_action(value)
        log_probabilities = heads.logits.log_softmax(dim=-1)
        gating = log_probabilities.gather(-1, action.skill.unsqueeze(-1)).squeeze(-1)
        command = gaussian_log_density(action.command, heads.command_mean, heads.command_log_std)
        residual = gaussian_log_density(
            action.residual, heads.residual_mean, heads.residual_log_std
        ).sum(dim=-1)
        counted = torch.ones_like(heads.residual_on) if self.shape.literal else heads.residual_on
        command = (command * self._used()[action.skill]).sum(dim=-1)
        if self.shape.hold_command:
            command = (1.0 - action.held) * command
        total = (1.0 - action.held) * gating + command + counted * residual
        return total.clamp(-LOGP_BOUND, LOGP_BOUND)

    def entropy(self, **kwargs: Any) -> Tensor:
        """Entropy [nat] of what is sampled, ``(...)``.

        Where no skill is held it is that of the choice and, weighted by the skills' probabilities,
        of the numbers each would read.
        """
        heads = self.heads
        log_probabilities = heads.logits.log_softmax(dim=-1)
        gating = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
        command = gaussian_entropy(heads.command_log_std)
        residual = gaussian_entropy(heads.residual_log_std).sum(dim=-1)
        return self._expected(gating, command, residual)

    def kl(self, other: Distribution, **kwargs: Any) -> Tensor:
        """Divergence from this distribution to ``other`` [nat], ``(...)``; counts as entropy."""
        if not isinstance(other, HierarchicalDistribution):
            raise TypeError(f"no closed form against {type(other).__name__}")
        mine, theirs = self.heads, other.heads
        log_mine, log_theirs = mine.logits.log_softmax(-1), theirs.logits.log_softmax(-1)
        gating = (log_mine.exp() * (log_mine - log_theirs)).sum(dim=-1)
        command = gaussian_divergence(
            mine.command_mean, mine.command_log_std, theirs.command_mean, theirs.command_log_std
        )
        residual = gaussian_divergence(
            mine.residual_mean,
            mine.residual_log_std,
            theirs.residual_mean,
            theirs.residual_log_std,
        )
        return self._expected(gating, command, residual.sum(dim=-1))

    def _expected(self, gating: Tensor, command: Tensor, residual: Tensor) -> Tensor:
        """Add up what counts: ``gating (...)``, ``command (..., command_size)``, ``residual``."""
        if self.shape.literal:
            return gating + command.sum(dim=-1) + residual
        heads, used = self.heads, self._used()
        held = heads.held.unsqueeze(-1)
        # A held skill counts for certain, the others by their probability.
        weights = (1.0 - held) * (heads.logits.softmax(dim=-1) @ used)
        if not self.shape.hold_command:
            weights = weights + held * used[heads.skill.long().clamp(min=0)]
        free = (1.0 - heads.held) * gating
        return free + (command * weights).sum(dim=-1) + heads.residual_on * residual

    def _used(self) -> Tensor:
        return _used(self.shape, self.heads.logits.device)


@cache
def _used(shape: ActionShape, device: torch.device) -> Tensor:
    """Return what each skill reads of the command, ``(num_skills, command_size)`` of 0 and 1."""
    return torch.tensor(shape.used, dtype=torch.float32, device=device)
