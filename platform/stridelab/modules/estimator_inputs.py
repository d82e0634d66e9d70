"""What the module ``estimator`` must find in a task, checked before anything is trained.

An estimator that learns another signal than the true velocity trains without complaint and walks
badly. So its target is found by name, and looked at in running environments once.
"""

from __future__ import annotations

from typing import Any

import torch

from stridelab.modules.history import last_frames
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp import observations
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

TARGET = "base_lin_vel"
"""Name of the term the estimator learns, in the group ``critic``."""
_TARGET_PATH = f"observations.critic.{TARGET}"
_PROBED_STEPS = 4


def check_task(task: TaskConfig, short_history: int) -> ObservationTerm:
    """Check a task's tables and return the term that the estimator learns.

    Args:
        task: The task.
        short_history: Frames of the group ``policy`` that the estimator sees.

    Raises:
        ConfigError: The history is too short, or the target is not the true velocity of the base;
            the path is relative to the task.
    """
    frames = task.history.get("policy", 1)
    if frames < short_history:
        raise ConfigError(
            "history.policy",
            f"the module estimator needs at least model.short_history = {short_history} frames, "
            f"got {frames}",
        )
    terms = task.observations.get("critic", {})
    if TARGET not in terms:
        raise ConfigError(
            _TARGET_PATH, "is missing: the module estimator learns the base's true velocity from it"
        )
    term = terms[TARGET]
    if term.func is not observations.base_lin_vel:
        name = getattr(term.func, "__name__", repr(term.func))
        raise ConfigError(
            _TARGET_PATH,
            f"must be the true velocity of the base for the module estimator, but its function is "
            f'"{name}"',
        )
    if term.noise:
        raise ConfigError(
            f"{_TARGET_PATH}.noise", f"must be 0 for the module estimator, got {term.noise:g}"
        )
    if not term.scale:
        raise ConfigError(f"{_TARGET_PATH}.scale", "must not be 0 for the module estimator")
    return term


def estimator_inputs(task: TaskConfig, short_history: int) -> dict[str, Any]:
    """Check a task, in its tables and in motion, and describe what the module reads.

    Returns:
        ``history`` (frames by group), ``target`` (columns in a frame of ``critic``) and
        ``target_scale`` (target per m/s).

    Raises:
        ConfigError: As :func:`check_task`, or what is observed is not what the tables say; the
            path begins with ``task``.
    """
    try:
        term = check_task(task, short_history)
        env = make_env(task, num_envs=2, seed=0, num_threads=1)
        _check_in_motion(env, term.scale)
    except ConfigError as error:
        raise error.under("task") from None
    columns = env.layouts["critic"][TARGET]
    return {
        "history": dict(env.history),
        "target": [columns.start, columns.stop],
        "target_scale": term.scale,
    }


def _check_in_motion(env: BatchEnv, scale: float) -> None:
    """Step a few times: the target must be the velocity times its scale, frames in their order."""
    generator = torch.Generator().manual_seed(0)
    columns = env.layouts["critic"][TARGET]
    obs = env.reset()
    for _ in range(_PROBED_STEPS):
        actions = torch.randn(env.num_envs, env.action_dim, generator=generator)
        step = env.step(actions)
        for group, size in env.frame_sizes.items():
            if not torch.equal(step.final_obs[group][:, :-size], obs[group][:, size:]):
                raise ConfigError(
                    f"history.{group}", "the environment does not stack frames oldest first"
                )
        obs = step.obs
        seen = last_frames(obs["critic"], 1, env.frame_sizes["critic"])[:, columns]
        true = env.state.base_lin_vel * scale
        if seen.shape != true.shape:
            raise ConfigError(
                _TARGET_PATH, f"must have {true.shape[1]} values, got {seen.shape[1]}"
            )
        if not torch.allclose(seen, true, rtol=1e-4, atol=1e-5):
            worst = float((seen - true).abs().max()) / abs(scale)
            raise ConfigError(
                _TARGET_PATH, f"is not the true velocity of the base: off by up to {worst:.3g} m/s"
            )
