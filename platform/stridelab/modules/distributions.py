"""Action distributions, evaluated from the module's outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from ray.rllib.core.distribution.distribution import Distribution
from ray.rllib.core.distribution.torch.torch_distribution import TorchDeterministic
from torch import Tensor

_LOG_TWO_PI = math.log(2.0 * math.pi)


def gaussian_log_density(value: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the log-density of each component of ``value``, ``(..., k)``."""
    scaled = (value - mean) * (-log_std).exp()
    return -0.5 * scaled.square() - log_std - 0.5 * _LOG_TWO_PI


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Return the differential entropy [nat] of each component, ``(..., k)``."""
    return log_std + 0.5 * (1.0 + _LOG_TWO_PI)


def gaussian_divergence(
    mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor
) -> Tensor:
    """Return the divergence [nat] of each component from the first to the other, ``(..., k)``."""
    variance = (2.0 * log_std).exp()
    gap = (mean - other_mean).square()
    return other_log_std - log_std + 0.5 * (variance + gap) * (-2.0 * other_log_std).exp() - 0.5


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
        return gaussian_log_density(value, self.mean, self.log_std).sum(dim=-1)

    def entropy(self, **kwargs: Any) -> Tensor:
        """Differential entropy [nat], ``(...)``."""
        return gaussian_entropy(self.log_std).sum(dim=-1)

    def kl(self, other: Distribution, **kwargs: Any) -> Tensor:
        """Divergence from this distribution to ``other`` [nat], ``(...)``."""
        if not isinstance(other, DiagonalGaussian):
            raise TypeError(f"no closed form against {type(other).__name__}")
        per_dim = gaussian_divergence(self.mean, self.log_std, other.mean, other.log_std)
        return per_dim.sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the distribution that always gives the mean."""
        return TorchDeterministic(loc=self.mean)
