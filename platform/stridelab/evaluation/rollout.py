"""Deterministic rollouts of a policy: what it does over whole episodes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from stridelab.evaluation.summary import Evaluation
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

Act = Callable[[dict[str, Tensor]], Tensor]
"""From observation groups ``(num_envs, size)`` to actions ``(num_envs, action_dim)``."""
SquaredErrors = Callable[[dict[str, Tensor]], dict[str, Tensor]]
"""From observation groups to the squared errors of what a policy predicts, each ``(num_envs,)``."""


def evaluate(
    controller: Callable[[BatchEnv], Act],
    task: TaskConfig,
    *,
    episodes: int,
    seed: int,
    label: str,
    num_threads: int = 0,
    squared_errors: SquaredErrors = lambda obs: {},
    on_step: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Run one episode in each of ``episodes`` environments and average.

    Besides what the environment logs, ``episode/survival_rate`` is the share of episodes that
    reached the time limit, and ``metric/<name>_rmse`` the root of the mean squared error over an
    episode of what the policy predicts under ``name``.

    Args:
        controller: Returns what acts in given environments; for a bundle ``policy.controller``.
        task: The task, with the policy's own settings.
        episodes: Number of environments and of episodes.
        seed: Seed of the environments.
        label: Name of the policy in tables.
        num_threads: Physics threads; 0 takes every core.
        squared_errors: How wrong the policy's own predictions are; for a bundle
            ``policy.squared_errors``.
        on_step: Called after every control step, for progress.
    """
    env = make_env(task.for_evaluation(), num_envs=episodes, seed=seed, num_threads=num_threads)
    values = first_episodes(controller(env), env, squared_errors, on_step)
    metrics = {name: v for name, v in values.items() if not name.startswith("reward/")}
    metrics["episode/survival_rate"] = 1.0 - metrics["episode/fell"]
    metrics["episode/fall_rate"] = metrics["episode/fell"]
    return Evaluation(
        label=label,
        episodes=episodes,
        metrics={name: float(value.nanmean()) for name, value in metrics.items()},
        rewards={
            name.removeprefix("reward/"): float(value.mean())
            for name, value in values.items()
            if name.startswith("reward/")
        },
        std={name: _spread(value) for name, value in metrics.items()},
    )


def _spread(value: Tensor) -> float:
    """Return the standard deviation of what was measured; NaN where nothing was."""
    measured = value[~value.isnan()]
    return float(measured.std(correction=0)) if measured.numel() else math.nan


@torch.no_grad()
def first_episodes(
    act: Act,
    env: BatchEnv,
    squared_errors: SquaredErrors = lambda obs: {},
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """Return the log of the first episode of each environment, name to ``(num_envs,)``.

    Counting whole first episodes keeps short ones from being counted more often than long ones.
    """
    obs = env.reset()
    waiting = torch.ones(env.num_envs, dtype=torch.bool)
    values: dict[str, Tensor] = {}
    errors: dict[str, Tensor] = {}
    for _ in range(env.max_episode_steps):
        for name, value in squared_errors(obs).items():
            sums = errors.setdefault(name, torch.zeros(env.num_envs))
            sums += value.masked_fill(~waiting, 0.0)
        step = env.step(act(obs))
        on_step()
        obs = step.obs
        ended = (step.terminated | step.truncated).nonzero().flatten()
        first = waiting[ended]
        for name, value in step.log.items():
            values.setdefault(name, torch.zeros(env.num_envs))[ended[first]] = value[first]
        waiting[ended] = False
        if not waiting.any():
            break
    for name, sums in errors.items():
        values[f"metric/{name}_rmse"] = (sums / values["episode/length"]).sqrt()
    return values
