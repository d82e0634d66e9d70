"""Many simulations of one MuJoCo model, stepped together on C++ threads."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch, SimulationError
from torch import Tensor

logger = logging.getLogger(__name__)

_STAGE_VEL = int(mujoco.mjtStage.mjSTAGE_VEL)
_STAGE_NONE = int(mujoco.mjtStage.mjSTAGE_NONE)
_STATE_FIELDS = (
    "time",
    "qpos",
    "qvel",
    "act",
    "history",
    "qacc_warmstart",
    "ctrl",
    "mocap_pos",
    "mocap_quat",
)
"""Fields that together decide how the simulations go on."""
_MODEL = "model."
"""Prefix of model fields in a saved state."""
_VELOCITY_LIMIT = 1e4
"""A generalised velocity beyond this [m/s or rad/s] is an explosion, not motion."""


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Simulation:
    """``num_envs`` simulations of one model; fields are read as float32 tensors.

    State fields (``time``, ``qpos``, ``qvel``, ``ctrl``, ``mocap_pos``, ``xfrc_applied``) are live
    float64 views of MuJoCo's own rows, written in place. Derived fields (``xpos``, ``sensordata``,
    ...) are current after :meth:`step`: positions and velocities at the new state, forces from the
    last substep.

    Args:
        model: The compiled model; its ``opt.timestep`` is the physics step [s].
        num_envs: Number of simulations.
        decimation: Physics steps per control step.
        num_threads: Threads; 0 takes every core this process may use.
        dump_dir: Where the state of the first failed simulation is written; a folder in the
            system's temporary directory by default.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        num_envs: int,
        *,
        decimation: int,
        num_threads: int = 0,
        dump_dir: Path | None = None,
    ) -> None:
        self.model = model
        # MuJoCo would quietly put an exploded simulation back to qpos0; we want to see it.
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.num_envs = num_envs
        self.decimation = decimation
        self.failures = 0
        """Simulations restarted since the start because MuJoCo failed or turned non-finite."""
        threads = num_threads or available_cores()
        self.batch = Batch(model, nsim=num_envs, nthread=min(threads, num_envs))
        self.qpos = torch.from_numpy(self.batch.bind("qpos"))
        self.qvel = torch.from_numpy(self.batch.bind("qvel"))
        self.ctrl = torch.from_numpy(self.batch.bind("ctrl"))
        self.mocap_pos = torch.from_numpy(self.batch.bind("mocap_pos"))
        self.time = torch.from_numpy(self.batch.bind("time"))
        self.xfrc_applied = torch.from_numpy(self.batch.bind("xfrc_applied"))
        """Force [N] and torque [N m] on each body, world frame, ``(num_envs, nbody, 6)``; they act
        until they are written again or the simulation is reset."""
        self._before_qpos = self.qpos.clone()
        self._before_qvel = self.qvel.clone()
        self._model_fields: dict[str, Tensor] = {}
        self._constants_stale = torch.zeros(num_envs, dtype=torch.bool)
        self._float32: dict[str, Tensor] = {}
        self._fresh: set[str] = set()
        # Fields that are fresh but for some simulations.
        self._outdated: dict[str, Tensor] = {}
        self._dump_dir = dump_dir
        self.dump_path: Path | None = None
        """File that holds the state before the first failure, or None."""

    @property
    def control_dt(self) -> float:
        """Control period [s]."""
        return float(self.model.opt.timestep) * self.decimation

    def read(self, name: str) -> Tensor:
        """Return field ``name`` as float32, ``(num_envs, ...)``; copied at most once per step.

        The tensor is refilled after each step: clone what must outlive it. Forces must have been
        read once before the step whose values are wanted.
        """
        if name not in self._float32:
            self._bind(name)
        tensor = self._float32[name]
        if name not in self._fresh:
            np.copyto(tensor.numpy(), self.batch.bind(name), casting="same_kind")
            self._fresh.add(name)
        elif name in self._outdated:
            ids = self._outdated.pop(name).numpy()
            tensor.numpy()[ids] = self.batch.bind(name)[ids]
        return tensor

    def pick(self, name: str, rows: Sequence[int]) -> Tensor:
        """Return some rows of a field as float32, ``(num_envs, len(rows), ...)``.

        For fields with a row for each body or site, forces excepted: others are not copied.
        """
        if name not in self._float32:
            self._bind(name)
        return torch.from_numpy(self.batch.bind(name).take(rows, axis=1).astype(np.float32))

    def _written(self, ids: Tensor) -> None:
        """Let :meth:`read` copy simulations ``ids (k,)`` again."""
        for name in self._fresh:
            earlier = self._outdated.get(name, ids)
            self._outdated[name] = ids if earlier is ids else torch.cat([earlier, ids])

    def _all_written(self) -> None:
        """Let :meth:`read` copy every simulation again."""
        self._fresh.clear()
        self._outdated.clear()

    def _bind(self, name: str) -> None:
        source = self.batch.bind(name)
        if name not in ("qpos", "qvel", "ctrl"):
            # The field is zero until the next call. That call puts other simulations' forces into
            # the fields bound already (threads share an MjData), so those are copied out first.
            for known in self._float32:
                self.read(known)
            self.batch.forward(stage=_STAGE_VEL)
        self._float32[name] = torch.zeros(source.shape, dtype=torch.float32)

    def step(self, targets: Tensor) -> Tensor:
        """Advance one control step.

        Args:
            targets: Actuator inputs, ``(num_envs, nu)``.

        Returns:
            Ids of simulations that failed, ``(k,)``; each has been put back to the default state
            and waits for its reset.
        """
        self._refresh_constants()
        self._before_qpos.copy_(self.qpos)
        self._before_qvel.copy_(self.qvel)
        self.ctrl.copy_(targets)
        failed = torch.zeros(self.num_envs, dtype=torch.bool)
        message = "a state became non-finite"
        try:
            self.batch.step(nstep=self.decimation, stage=_STAGE_VEL)
        except SimulationError as error:
            failed[torch.as_tensor(np.asarray(error.ids), dtype=torch.long)] = True
            message = str(error)
        self._all_written()
        # A NaN fails the comparison too, so one reduction finds both.
        failed |= ~(self.qvel.abs().amax(dim=1) < _VELOCITY_LIMIT)
        ids = failed.nonzero().flatten()
        if ids.numel():
            self._restart_failed(ids, message)
        return ids

    def reset(self, ids: Tensor) -> None:
        """Put simulations ``ids (k,)`` to the model's defaults; :meth:`forward` must follow."""
        self.batch.reset(ids=ids.numpy(), stage=_STAGE_NONE)
        self._written(ids)

    def velocity_written(self) -> None:
        """Let :meth:`read` see velocities that were written between two steps."""
        self._fresh.discard("qvel")
        self._outdated.pop("qvel", None)

    def forward(self, ids: Tensor) -> None:
        """Make the derived fields of ``ids (k,)`` current after their state was written."""
        self._refresh_constants()
        self.batch.forward(ids=ids.numpy(), stage=_STAGE_VEL)
        self._written(ids)

    def model_field(self, name: str) -> Tensor:
        """Return the values of model field ``name`` in each simulation, ``(num_envs, ...)``.

        They are written in place; :meth:`set_const` must follow for masses and inertias.
        """
        if name not in self._model_fields:
            self._model_fields[name] = torch.from_numpy(self.batch.expand(name))
        return self._model_fields[name]

    def set_const(self, ids: Tensor) -> None:
        """Derive the constants that depend on masses and inertias anew in ``ids (k,)``.

        It happens once, however often it is asked for, at the latest before the next step.
        """
        self._constants_stale[ids] = True

    def _refresh_constants(self) -> None:
        ids = self._constants_stale.nonzero().flatten()
        if ids.numel():
            self.batch.set_const(ids=ids.numpy())
            self._constants_stale[ids] = False

    def get_state(self) -> dict[str, Tensor]:
        """Return what decides how the simulations go on, each field ``(num_envs, ...)``."""
        fields = {name: torch.from_numpy(self.batch.bind(name)) for name in _STATE_FIELDS}
        fields |= {f"{_MODEL}{name}": value for name, value in self._model_fields.items()}
        return {name: value.clone() for name, value in fields.items()}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`get_state` returned."""
        for name, value in state.items():
            if name.startswith(_MODEL):
                self.model_field(name.removeprefix(_MODEL)).copy_(value)
            else:
                torch.from_numpy(self.batch.bind(name)).copy_(value)
        if self._model_fields:
            self.batch.set_const()
        self.batch.forward(stage=_STAGE_VEL)
        self._all_written()

    def data(self, index: int) -> mujoco.MjData:
        """Return simulation ``index`` as an ``MjData`` with current kinematics, for rendering."""
        data = self.batch.get_data(index)
        mujoco.mj_forward(self.model, data)
        return data

    def _restart_failed(self, ids: Tensor, message: str) -> None:
        self.failures += int(ids.numel())
        if self.dump_path is None:
            self.dump_path = self._dump(int(ids[0]), message)
            logger.warning(
                "simulation %d failed (%s); state saved to %s", int(ids[0]), message, self.dump_path
            )
        self.reset(ids)
        self.forward(ids)

    def _dump(self, index: int, message: str) -> Path:
        folder = self._dump_dir or Path(tempfile.mkdtemp(prefix="stridelab-failure-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "failed_simulation.npz"
        temporary = path.with_suffix(".tmp.npz")
        np.savez(
            temporary,
            env_id=index,
            message=message,
            qpos=self._before_qpos[index].numpy(),
            qvel=self._before_qvel[index].numpy(),
            ctrl=self.ctrl[index].numpy(),
        )
        temporary.replace(path)
        return path
