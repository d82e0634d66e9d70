"""A reward of our own."""

import torch
from torch import Tensor

from stridelab_envs.mdp.state import State


def feet_level(state: State, width: float = 0.02) -> Tensor:
    """Reward feet at one height: ``exp(-(difference / width)^2)`` of their heights [m]."""
    height = state.foot_pos[..., 2]
    return torch.exp(-((height.amax(dim=1) - height.amin(dim=1)) / width).square())
