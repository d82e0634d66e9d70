"""Can a policy move the joints? One unit of action on each, with the robot hanging free."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from torch import Tensor

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.check.report import JointStatistics
from stridelab_envs.robots.scene import build_scene

_SECONDS = 1.0
_LIFT = 2.0
"""How much higher [m] than when standing the robot hangs, clear of the ground."""


def probe_joints(env: BatchEnv, saturation: Tensor) -> list[JointStatistics]:
    """Ask each joint for one unit of action, without gravity, and see how far it goes.

    Args:
        env: Environments of the task.
        saturation: Share of steps at the torque limit, ``(num_joints,)``.
    """
    model = build_scene(env.robot.mjcf)
    model.opt.timestep = env.task.timestep
    model.opt.gravity[:] = 0.0
    pose = np.array(env.robot.default_pose)
    clip = env.task.action_clip
    found = []
    for i, (name, scale) in enumerate(zip(env.robot.joints, env.action_scale, strict=True)):
        joint = model.joint(name)
        limited = bool(model.jnt_limited[joint.id])
        low, high = joint.range if limited else (-np.inf, np.inf)
        span = abs(float(scale))
        sides = [float(np.clip(pose[i] + s * span, low, high) - pose[i]) for s in (1.0, -1.0)]
        # On one side the leg beside it may be in the way.
        ways = [(asked, _movement(env, model, i, asked)) for asked in sides if asked]
        asked, moved = max(ways, key=lambda way: way[1] / way[0], default=(0.0, 0.0))
        found.append(
            JointStatistics(
                name=name,
                low=float(low),
                high=float(high),
                reach_low=float(np.clip(pose[i] - clip * span, low, high)),
                reach_high=float(np.clip(pose[i] + clip * span, low, high)),
                asked=asked,
                moved=moved,
                saturated=float(saturation[i]),
            )
        )
    return found


def _movement(env: BatchEnv, model: mujoco.MjModel, index: int, asked: float) -> float:
    """Return how far joint ``index`` goes when its target moves by ``asked`` [rad]."""
    data = mujoco.MjData(model)
    joints = env.state.joint_slices[0]
    data.qpos[env.state.base_slices[0].start + 2] = env.robot.home_height + _LIFT
    data.qpos[joints] = env.robot.default_pose
    data.ctrl[:] = env.robot.default_pose
    data.ctrl[index] += asked
    mujoco.mj_step(model, data, round(_SECONDS / model.opt.timestep))
    moved = float(data.qpos[joints][index]) - env.robot.default_pose[index]
    return moved if math.isfinite(moved) else 0.0
