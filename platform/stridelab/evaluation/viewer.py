"""Watching a policy in MuJoCo's own window."""

from __future__ import annotations

import time

import mujoco.viewer
import torch

from stridelab.export.bundle import Policy
from stridelab_envs.errors import UserError
from stridelab_envs.registry import make_env


@torch.no_grad()
def watch(policy: Policy, *, seconds: float, seed: int) -> None:
    """Open MuJoCo's viewer and let the policy act in real time.

    Raises:
        UserError: If there is no screen.
    """
    env = make_env(policy.experiment.task_config(), num_envs=1, seed=seed)
    policy.check_fits(env)
    obs, act = env.reset(), policy.controller(env)
    data = env.sim.data(0)
    try:
        window = mujoco.viewer.launch_passive(env.sim.model, data)
    except Exception as error:  # GLFW reports a missing screen in its own ways
        raise UserError(f"no window can be opened here ({error}); use --video FILE") from error
    with window:
        for _ in range(round(seconds / env.control_dt)):
            start = time.monotonic()
            obs = env.step(act(obs)).obs
            now = env.sim.data(0)
            data.qpos[:], data.qvel[:] = now.qpos, now.qvel
            mujoco.mj_forward(env.sim.model, data)
            window.sync()
            if not window.is_running():
                return
            time.sleep(max(0.0, env.control_dt - (time.monotonic() - start)))
