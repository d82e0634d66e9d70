"""Advantages in units of their own spread, over all samples or task by task."""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab.modules.actor_critic import POLICY
from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

_TINY = 1e-8


def normalize_advantages(advantages: Tensor, one_hot: Tensor | None = None) -> Tensor:
    """Return advantages with mean 0 and standard deviation 1.

    Args:
        advantages: ``(n,)``.
        one_hot: Which group each sample belongs to, ``(n, groups)``; mean and deviation are then
            those of the group. Where tasks are learned together, one whose robots fall would
            otherwise drown those in which little is at stake.
    """
    if one_hot is None:
        std, mean = torch.std_mean(advantages)
        return (advantages - mean) / (std + _TINY)
    group = one_hot.argmax(dim=1)
    members = torch.nn.functional.one_hot(group, one_hot.shape[1]).to(advantages.dtype)
    count = members.sum(dim=0).clamp(min=1.0)
    centred = advantages - ((advantages @ members) / count)[group]
    std = ((centred.square() @ members) / count).sqrt()
    return centred / (std[group] + _TINY)


def policy_layout(task: TaskConfig) -> dict[str, slice]:
    """Return where each term lies in a frame of the policy's observation."""
    return dict(make_env(task, num_envs=1, seed=0, num_threads=1).layouts[POLICY])


def columns_of(term: str, task: TaskConfig) -> slice:
    """Return where a one-hot term lies in a frame of the policy's observation.

    Raises:
        ConfigError: If the policy is not shown such a term, or it is a single number.
    """
    path = "algorithm.normalize_advantages_by"
    layout = policy_layout(task)
    if term not in layout:
        raise ConfigError(path, unknown_name("observation term of the policy", term, layout))
    columns = layout[term]
    if columns.stop - columns.start < 2:
        raise ConfigError(path, f"{term} is one number; a one-hot term is needed")
    return columns
