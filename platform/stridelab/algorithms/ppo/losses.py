"""The terms of PPO's loss as pure functions; means over the minibatch."""

from __future__ import annotations

import torch
from torch import Tensor


def surrogate_loss(ratio: Tensor, advantages: Tensor, clip_param: float) -> Tensor:
    """Clipped surrogate objective, negated (Schulman et al. 2017, eq. 7).

    Args:
        ratio: New over old probability of the action, ``(n,)``.
        advantages: ``(n,)``.
        clip_param: Half-width of the interval around 1.
    """
    clipped = ratio.clamp(1.0 - clip_param, 1.0 + clip_param)
    return -torch.minimum(ratio * advantages, clipped * advantages).mean()


def value_loss(
    values: Tensor, targets: Tensor, old_values: Tensor, clip_param: float | None
) -> Tensor:
    """Squared error of the value, without the factor one half.

    Args:
        values: ``(n,)``.
        targets: ``(n,)``.
        old_values: Values before the update, ``(n,)``.
        clip_param: The larger of the plain error and that of the value moved at most this far
            from the old one; None for the plain error.
    """
    error = (values - targets).square()
    if clip_param is None:
        return error.mean()
    moved = old_values + (values - old_values).clamp(-clip_param, clip_param)
    return torch.maximum(error, (moved - targets).square()).mean()


def explained_variance(values: Tensor, targets: Tensor) -> Tensor:
    """Share of the targets' variance that the values explain; 1 is perfect, 0 is a constant."""
    variance = targets.var(correction=0)
    residual = (targets - values).var(correction=0)
    return 1.0 - residual / variance.clamp(min=1e-8)


def adapted_learning_rate(
    learning_rate: float,
    kl: float,
    desired_kl: float,
    *,
    bounds: tuple[float, float] = (1e-5, 1e-2),
) -> float:
    """Shrink the learning rate where the policy moved too far, raise it where it hardly moved.

    The rule of legged_gym and rsl_rl: a factor of 1.5 beyond twice, or below half, the desired
    divergence.

    Args:
        learning_rate: The present one.
        kl: Mean divergence of the new policy from the old [nat].
        desired_kl: What it should be [nat].
        bounds: Least and greatest learning rate.
    """
    if kl > 2.0 * desired_kl:
        return max(bounds[0], learning_rate / 1.5)
    # Before the first step of an update the divergence is rounding noise, not a small step.
    if 1e-3 * desired_kl < kl < 0.5 * desired_kl:
        return min(bounds[1], learning_rate * 1.5)
    return learning_rate


def staleness_weights(logp: Tensor, sampled_logp: Tensor) -> Tensor:
    """Return how much likelier actions have become since an older policy sampled them, ``(n,)``.

    Advantages are multiplied by this, while ratios are to the policy of now: the clip then bounds
    the update alone, however old the samples (decoupled PPO, Hilton et al. 2021). At most 2: few
    rare actions must not outweigh all others.

    Args:
        logp: Log-probability under the policy of now, ``(n,)``.
        sampled_logp: Under the policy that sampled, likewise.
    """
    return (logp - sampled_logp).exp().clamp(max=2.0)
