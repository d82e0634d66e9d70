"""Filming a policy: an MP4 and a film strip of one or several environments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from stridelab.evaluation.frames import film_strip
from stridelab.evaluation.overlay import EnvOverlay
from stridelab.evaluation.video import VideoRecorder
from stridelab.export.bundle import Policy
from stridelab_envs.registry import make_env


@torch.no_grad()
def film_policy(
    policy: Policy,
    path: Path,
    *,
    seconds: float,
    num_envs: int = 1,
    seed: int = 0,
    plain: bool = False,
    on_step: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Let a policy act in its own task and film it.

    Args:
        policy: The policy; its mean action is executed.
        path: Where to, without suffix: ``<path>.mp4`` and ``<path>.png`` (film strip).
        seconds: Length of the film [s].
        num_envs: Environments, tiled in one picture.
        seed: Seed of the environments.
        plain: Show the robots alone, without arrows, contacts and reward terms.
        on_step: Called after every control step, for progress.

    Returns:
        The files written.

    Raises:
        UserError: If OpenGL is missing.
    """
    task = policy.experiment.task_config()
    env = make_env(task, num_envs=num_envs, seed=seed)
    policy.check_fits(env)
    video, strip = path.with_suffix(".mp4"), path.with_suffix(".png")
    obs, act = env.reset(), policy.controller(env)
    returns = torch.zeros(num_envs)
    recorder = VideoRecorder(
        env.sim,
        video,
        title=task.id,
        control_dt=env.control_dt,
        indices=range(num_envs),
        overlay=None if plain else EnvOverlay(env),
    )
    with recorder:
        for _ in range(round(seconds / env.control_dt)):
            step = env.step(act(obs))
            obs = step.obs
            returns = (returns + step.reward) * ~(step.terminated | step.truncated)
            recorder.capture(returns.tolist())
            on_step()
    film_strip(recorder.kept, strip)
    return [video, strip]
