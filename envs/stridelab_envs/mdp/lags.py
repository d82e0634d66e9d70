"""Delays between policy, motors and joint sensors, kept by MuJoCo's own history buffers.

A delay is constant within an episode and differs from environment to environment. It acts in whole
physics steps: 13 ms are 13 steps of 1 ms, or 3 of 5 ms.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np
import torch
from torch import Tensor

from stridelab_envs.physics import Simulation
from stridelab_envs.robots.spec import RobotSpec

_EARLY = 1e-6
"""Delays are shorter by this [s], so that a sum of time steps finds the sample it should."""
_SENSORS = {
    "lagged_joint_pos": mujoco.mjtSensor.mjSENS_JOINTPOS,
    "lagged_joint_vel": mujoco.mjtSensor.mjSENS_JOINTVEL,
}


def add_action_buffers(
    spec: mujoco.MjSpec, robot: RobotSpec, timestep: float, *, low: float, high: float
) -> None:
    """Let a model's actuators remember targets for ``high`` [s]."""
    for joint in robot.joints:
        spec.actuator(joint).nsample = _samples(high, timestep)


def add_lagged_sensors(
    spec: mujoco.MjSpec, robot: RobotSpec, timestep: float, *, low: float, high: float
) -> None:
    """Add sensors of the joints' angles and velocities that remember them for ``high`` [s]."""
    for kind, sensor in _SENSORS.items():
        for joint in robot.joints:
            spec.add_sensor(
                name=f"{kind}/{joint}",
                type=sensor,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                objname=joint,
                nsample=_samples(high, timestep),
            )


def _samples(delay: float, timestep: float) -> int:
    return math.ceil(delay / timestep) + 2


class Lags:
    """The delays of ``num_envs`` robots, in force where the model has the buffers for them.

    Args:
        sim: The simulations.
        robot: The robot.
        joint_slices: Columns of its joints in ``qpos`` and ``qvel``.
    """

    def __init__(
        self, sim: Simulation, robot: RobotSpec, joint_slices: tuple[slice, slice]
    ) -> None:
        self._sim = sim
        self._state = {
            "lagged_joint_pos": sim.qpos[:, joint_slices[0]],
            "lagged_joint_vel": sim.qvel[:, joint_slices[1]],
        }
        self._default_pose = torch.tensor(robot.default_pose, dtype=torch.float64)
        model = sim.model
        actuators = [model.actuator(name).id for name in robot.joints]
        self._actuators = [i for i in actuators if model.actuator_historyadr[i] >= 0]
        self._targets = _values(model.actuator_historyadr, model.actuator_history, self._actuators)
        self._sensors = {kind: _sensor_ids(model, kind, robot) for kind in _SENSORS}
        self._seen = {
            kind: _values(model.sensor_historyadr, model.sensor_history, ids)
            for kind, ids in self._sensors.items()
        }

    def set_action(self, ids: Tensor, seconds: Tensor) -> None:
        """Delay the targets of environments ``ids (k,)`` by ``seconds (k,)``."""
        delays = self._sim.model_field("actuator_delay")
        delays[ids.unsqueeze(1), self._actuators] = _early(seconds).unsqueeze(1)

    def action(self) -> Tensor:
        """Return how late targets are [s], ``(num_envs, 1)``; zero without buffers for them."""
        if not self._actuators:
            return torch.zeros(self._sim.num_envs, 1)
        return self._sim.model_field("actuator_delay")[:, self._actuators[:1]].float()

    def set_observation(self, ids: Tensor, seconds: Tensor) -> None:
        """Delay the joints' sensors in environments ``ids (k,)`` by ``seconds (k,)``."""
        delays = self._sim.model_field("sensor_delay")
        for sensors in self._sensors.values():
            delays[ids.unsqueeze(1), sensors] = _early(seconds).unsqueeze(1)

    def reset(self, ids: Tensor) -> None:
        """Fill the buffers of ``ids (k,)``, which start an episode in the state they are in now.

        The past they remember is that state, with the default pose as the target.
        """
        if not self._sim.model.nhistory:
            return
        history = torch.from_numpy(self._sim.batch.bind("history"))
        rows = ids.unsqueeze(1)
        if self._actuators:
            history[rows, self._targets] = _repeated(self._default_pose, self._targets)
        for kind, ids_of_kind in self._sensors.items():
            if ids_of_kind:
                places = self._seen[kind]
                history[rows, places] = _repeated(self._state[kind][ids], places)

    def joint_pos(self) -> Tensor | None:
        """Delayed joint angles [rad], ``(num_envs, num_joints)``; None where nothing delays."""
        return self._read("lagged_joint_pos")

    def joint_vel(self) -> Tensor | None:
        """Delayed joint velocities [rad/s]; None where nothing delays."""
        return self._read("lagged_joint_vel")

    def _read(self, kind: str) -> Tensor | None:
        sensors = self._sensors[kind]
        if not sensors:
            return None
        start = int(self._sim.model.sensor_adr[sensors[0]])
        return self._sim.read("sensordata")[:, start : start + len(sensors)]


def _sensor_ids(model: mujoco.MjModel, kind: str, robot: RobotSpec) -> list[int]:
    """Return the sensors of a kind in joint order; none where the model has none."""
    names = [f"{kind}/{joint}" for joint in robot.joints]
    ids = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name) for name in names]
    return [i for i in ids if i >= 0]


def _values(addresses: np.ndarray, sizes: np.ndarray, ids: list[int]) -> Tensor:
    """Return where the values of buffers of one number each lie in ``history``, buffer by buffer.

    A buffer is a number for its owner, a cursor, the times and the values.
    """
    places = [torch.arange(sizes[i, 0]) + int(addresses[i]) + 2 + int(sizes[i, 0]) for i in ids]
    return torch.cat(places) if places else torch.zeros(0, dtype=torch.long)


def _repeated(values: Tensor, places: Tensor) -> Tensor:
    """Give each value ``(..., n)`` as often as its buffer has places."""
    return values.repeat_interleave(places.numel() // values.shape[-1], dim=-1)


def _early(seconds: Tensor) -> Tensor:
    return (seconds - _EARLY).clamp(min=0.0)
