"""Random changes: ``func(state, ids, **params)`` with ``ids (k,)``.

Each writes the physics state or the model fields of the environments named; the caller computes
the derived fields.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.state import State

_FILE = "randomization.recorded_state.file"
"""Setting of a task that names a recording."""


def joint_pos_offset(state: State, ids: Tensor, half_width: float) -> None:
    """Move each joint by a uniform offset within ``half_width`` [rad]."""
    columns = state.joint_slices[0]
    noise = _uniform(state, ids, columns.stop - columns.start, half_width)
    state.sim.qpos[ids, columns] += noise


def joint_vel_offset(state: State, ids: Tensor, half_width: float) -> None:
    """Give each joint a uniform velocity within ``half_width`` [rad/s]."""
    columns = state.joint_slices[1]
    noise = _uniform(state, ids, columns.stop - columns.start, half_width)
    state.sim.qvel[ids, columns] += noise


def base_velocity(state: State, ids: Tensor, linear: float, angular: float) -> None:
    """Give the base a uniform velocity within ``linear`` [m/s] and ``angular`` [rad/s]."""
    start = state.base_slices[1].start
    state.sim.qvel[ids, start : start + 3] += _uniform(state, ids, 3, linear)
    state.sim.qvel[ids, start + 3 : start + 6] += _uniform(state, ids, 3, angular)


def push(state: State, ids: Tensor, linear: float, angular: float) -> None:
    """Add a uniform horizontal velocity within ``linear`` [m/s] and a rate within ``angular``.

    The angular part [rad/s] is about all three axes of the base.
    """
    start = state.base_slices[1].start
    state.sim.qvel[ids, start : start + 2] += _uniform(state, ids, 2, linear)
    state.sim.qvel[ids, start + 3 : start + 6] += _uniform(state, ids, 3, angular)
    state.velocity_written()


def friction(state: State, ids: Tensor, low: float, high: float) -> None:
    """Set the sliding friction of the floor and of the robot to one value in ``[low, high]``.

    MuJoCo lets the greater of two geoms' frictions count, hence both.
    """
    values = state.sim.model_field("geom_friction")
    values[ids, :, 0] = _between(state, ids, low, high)


def payload(state: State, ids: Tensor, body: str, low: float, high: float) -> None:
    """Add a mass in ``[low, high]`` [kg] to ``body``, at its centre of mass."""
    number = state.sim.model.body(body).id
    values = state.sim.model_field("body_mass")
    values[ids, number] = state.sim.model.body_mass[number] + _between(state, ids, low, high)[:, 0]
    state.sim.set_const(ids)


def recorded_state(state: State, ids: Tensor, file: str, share: float) -> None:
    """Start a ``share`` of the episodes in a state recorded before, for example under other skills.

    ``file`` is an ``.npz`` with ``qpos (n, nq)``, ``qvel (n, nv)``, the ``action (n, joints)`` that
    was executed last and the gait clock's ``gait_time (n,)`` [s]; a relative path starts at the
    folder of this package's tasks.
    """
    qpos, qvel, action, gait_time = _recording(file)
    here = (state.sim.qpos, state.sim.qvel, state.action)
    if any(a.shape[1] != b.shape[1] for a, b in zip((qpos, qvel, action), here, strict=True)):
        raise ConfigError(_FILE, f"{file} holds states of another robot")
    chosen = ids[torch.rand(ids.numel(), generator=state.generator) < share]
    rows = torch.randint(qpos.shape[0], (chosen.numel(),), generator=state.generator)
    state.sim.qpos[chosen] = qpos[rows]
    state.sim.qvel[chosen] = qvel[rows]
    state.action[chosen] = action[rows]
    state.gait_offset[chosen] = gait_time[rows]


@cache
def _recording(file: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    path = Path(__file__).parents[1] / "tasks" / file  # an absolute path stays as it is
    try:
        with np.load(path) as arrays:
            qpos = torch.from_numpy(arrays["qpos"].astype(np.float64))
            qvel = torch.from_numpy(arrays["qvel"].astype(np.float64))
            action = torch.from_numpy(arrays["action"].astype(np.float32))
            gait_time = torch.from_numpy(arrays["gait_time"].astype(np.float32))
        readable = qpos.dim() == qvel.dim() == action.dim() == 2 and gait_time.dim() == 1
        readable = readable and 0 < len(qpos) == len(qvel) == len(action) == len(gait_time)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile):
        readable = False
    if not readable:
        what = f"{path} is not an .npz with qpos, qvel, action and gait_time for each state"
        raise ConfigError(_FILE, what)
    return qpos, qvel, action, gait_time


def _between(state: State, ids: Tensor, low: float, high: float) -> Tensor:
    """Return uniform numbers in ``[low, high]``, ``(k, 1)``."""
    draw = torch.rand(ids.numel(), 1, generator=state.generator, dtype=torch.float64)
    return low + (high - low) * draw


def _uniform(state: State, ids: Tensor, width: int, half_width: float) -> Tensor:
    draw = torch.rand(ids.numel(), width, generator=state.generator, dtype=torch.float64)
    return (2.0 * draw - 1.0) * half_width
