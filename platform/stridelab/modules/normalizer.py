"""Running mean and standard deviation of observations, kept inside the module."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningNormalizer(nn.Module):
    """Scales observations to zero mean and unit variance as seen so far.

    The statistics are buffers: they travel with the weights, so an exported policy carries them.
    They change only in :meth:`update`, never in the forward pass, so the distribution that sampled
    an action can be evaluated again exactly.

    Args:
        size: Width of the observation, or of one frame where it is a stack of several.
        epsilon: Added to the standard deviation, so that a constant signal stays small.
        clip: Bound of the output, in standard deviations.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, size: int, *, epsilon: float = 1e-2, clip: float = 10.0) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the normalised ``observation (..., size)`` or stack ``(..., k * size)``."""
        size = self.mean.shape[0]
        if observation.shape[-1] != size:
            return self(observation.unflatten(-1, (-1, size))).flatten(-2)
        scaled = (observation - self.mean) / (self.var.sqrt() + self.epsilon)
        return scaled.clamp_(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, observation: Tensor) -> None:
        """Take ``observation (n, size)`` into the statistics (Chan et al. 1979, pairwise)."""
        batch = observation.shape[0]
        batch_var, batch_mean = torch.var_mean(observation, dim=0, correction=0)
        total = self.count + batch
        share = (batch / total).to(batch_mean.dtype)
        delta = batch_mean - self.mean
        # With nothing seen before, share is 1 and the batch replaces the initial values.
        self.var.copy_(
            (1.0 - share) * self.var + share * batch_var + share * (1.0 - share) * delta.square()
        )
        self.mean.add_(delta * share)
        self.count.copy_(total)
