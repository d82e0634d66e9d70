"""Generalised advantage estimation, vectorised over environments."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def advantages_and_returns(
    rewards: Tensor,
    values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    final_values: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:
    """Estimate advantages and value targets (Schulman et al. 2016, eq. 16).

    A failure is worth nothing afterwards; a time limit is not a failure, so the value of the true
    last observation stands for what would have come (Pardo et al. 2018).

    Args:
        rewards: ``(T, N)``.
        values: Values of the observations acted on and of the one after, ``(T + 1, N)``.
        terminated: ``(T, N)`` bool.
        truncated: ``(T, N)`` bool.
        final_values: Values of the last observations of truncated episodes, ``(K,)``, in the order
            of ``truncated.nonzero()``.
        gamma: Discount.
        gae_lambda: Weight of longer returns.

    Returns:
        Advantages and value targets, each ``(T, N)``.
    """
    next_values = values[1:].clone()
    next_values[truncated] = final_values.to(next_values.dtype)
    next_values[terminated] = 0.0
    deltas = rewards + gamma * next_values - values[:-1]
    carry = gamma * gae_lambda * (~(terminated | truncated)).to(deltas.dtype)
    advantages = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for t in range(deltas.shape[0] - 1, -1, -1):
        running = deltas[t] + carry[t] * running
        advantages[t] = running
    return advantages, advantages + values[:-1]
