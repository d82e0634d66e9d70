"""Action distributions, evaluated from the module's outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from torch import Tensor

_LOG_TWO_PI = math.log(2.0 * math.pi)


class DiagonalGaussian(Distribution):
    """Independent normal distributions, one for each action dimension.

    Args:
        mean: ``(..., k)``.
        log_std: ``(..., k)``.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        super().__init__()
        self.mean = mean
        self.log_std = log_std

    @staticmethod
    def required_input_dim(space: Any, **kwargs: Any) -> int:
        """Width of the module's output for an action ``space``: mean and log-std."""
        return 2 * int(space.shape[0])

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> DiagonalGaussian:
        """Split ``logits (..., 2k)`` into mean and log-std."""
        mean, log_std = logits.chunk(2, dim=-1)
        return cls(mean, log_std)

    def sample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Draw one sample, ``(..., k)``; it carries no gradient."""
        with torch.no_grad():
            return self.rsample()

    def rsample(self, *, sample_shape: Any = None, **kwargs: Any) -> Tensor:
        """Draw one sample that carries a gradient, ``(..., k)``."""
        return self.mean + self.log_std.exp() * torch.randn_like(self.mean)

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        """Log-density of ``value (..., k)``, summed over dimensions."""
        scaled = (value - self.mean) * (-self.log_std).exp()
        per_dim = -0.5 * scaled.square() - self.log_std - 0.5 * _LOG_TWO_PI
        return per_dim.sum(dim=-1)

    def entropy(self, **kwargs: Any) -> Tensor:
        """Differential entropy [nat], ``(...)``."""
        return (self.log_std + 0.5 * (1.0 + _LOG_TWO_PI)).sum(dim=-1)

    def kl(self, other: Distribution, **kwargs: Any) -> Tensor:
        """Divergence from this distribution to ``other`` [nat], ``(...)``."""
        if not isinstance(other, DiagonalGaussian):
            raise TypeError(f"no closed form against {type(other).__name__}")
        variance = (2.0 * self.log_std).exp()
        other_precision = (-2.0 * other.log_std).exp()
        gap = (self.mean - other.mean).square()
        per_dim = other.log_std - self.log_std + 0.5 * (variance + gap) * other_precision - 0.5
        return per_dim.sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the distribution that always gives the mean."""
        return TorchDeterministic(loc=self.mean)
