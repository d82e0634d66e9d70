"""Letting a policy drive a plant, and measuring what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import mujoco
import numpy as np

from stridelab.export.inference import ExportedPolicy
from stridelab.sim2sim.agreement import check_fits
from stridelab.sim2sim.plant import Plant
from stridelab.sim2sim.signals import COMMANDS, SIGNALS, Reading
from stridelab_envs.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a policy did until time was up or it fell."""

    command: tuple[float, float, float]
    """Forward and left velocity [m/s] and yaw rate [rad/s] asked for."""
    seconds: float
    """Time asked for [s]."""
    time_survived: float
    """Time until the fall, or all of it [s]."""
    falls: int
    """1 if the robot fell, which ends the run, else 0."""
    distance: float
    """From start to end over the ground, as the crow flies [m]."""
    forward_velocity: float
    """Mean velocity of the base along its heading [m/s]."""
    lateral_velocity: float
    """Mean velocity of the base to its left [m/s]."""
    yaw_rate: float
    """Mean angular velocity of the base about the world's vertical [rad/s]."""

    def flat(self) -> dict[str, Any]:
        """Return the values by name, for JSON."""
        return asdict(self) | {"command": list(self.command)}


class Playback:
    """A policy and the plant it drives.

    Args:
        policy: The exported policy.
        plant: The robot.
        command: Forward and left velocity [m/s], yaw rate [rad/s]; None takes the layout's.

    Raises:
        UserError: They do not fit together.
    """

    def __init__(
        self, policy: ExportedPolicy, plant: Plant, command: Sequence[float] | None = None
    ) -> None:
        layout = plant.layout
        if command is not None and not COMMANDS & set(layout.observation.signals.values()):
            names = ", ".join(sorted(COMMANDS))
            raise UserError(f"the layout has no term that --command could set ({names})")
        self.policy = policy
        self.plant = plant
        self._command = np.array(layout.command if command is None else command, dtype=float)
        self._steps = 0
        self._action = np.zeros(len(plant.joints))
        check_fits(policy, plant)

    def read(self) -> Reading:
        """Return what can be observed now."""
        return self.plant.read(time=self._time, command=self._command, last_action=self._action)

    def step(self) -> Reading:
        """Let the policy act for one control period and return the reading after it.

        Raises:
            UserError: The policy's action is not finite or the simulation blew up.
        """
        action = self.policy(self.plant.observation.observe(self.read())).reshape(-1).astype(float)
        if not np.isfinite(action).all():
            raise UserError(f"the policy's action is not finite after {self._time:.2f} s")
        clip = self.plant.layout.action.clip
        self._action = action if clip is None else np.clip(action, -clip, clip)
        self.plant.step(self.plant.default_pose + self.plant.action_scale * self._action)
        self._steps += 1
        return self.read()

    @property
    def _time(self) -> float:
        return self._steps * self.plant.control_dt

    def run(self, seconds: float, on_step: Callable[[], None] = lambda: None) -> Outcome:
        """Play from the start until time is up or the robot falls.

        Args:
            seconds: Time [s]; at least one control step is played.
            on_step: Called after every control step.
        """
        self._start()
        begin, motion, falls = self.plant.base_pos, [], 0
        for _ in range(max(1, round(seconds / self.plant.control_dt))):
            reading = self.step()
            on_step()
            motion.append(heading_motion(reading))
            if self.plant.fallen(reading):
                falls = 1
                break
        forward, lateral, yaw_rate = np.mean(motion, axis=0).tolist()
        way = self.plant.base_pos - begin
        vx, vy, wz = self._command.tolist()
        return Outcome(
            command=(vx, vy, wz),
            seconds=seconds,
            time_survived=self._time,
            falls=falls,
            distance=float(np.hypot(way[0], way[1])),
            forward_velocity=forward,
            lateral_velocity=lateral,
            yaw_rate=yaw_rate,
        )

    def _start(self) -> None:
        self.plant.reset()
        self.policy.reset()
        self.plant.observation.reset()
        self._steps = 0
        self._action = np.zeros(len(self.plant.joints))


def heading_motion(reading: Reading) -> tuple[float, float, float]:
    """Return forward and left velocity [m/s], heading frame, and yaw rate [rad/s], world frame."""
    forward, left, _ = SIGNALS["base_lin_vel_heading"](reading)
    return float(forward), float(left), float((reading.rotation @ reading.ang_vel)[2])


class PlantScene:
    """The plant as a video recorder wants it: rendering must not touch the simulation."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._copy = mujoco.MjData(plant.model)

    @property
    def model(self) -> mujoco.MjModel:
        """The model."""
        return self._plant.model

    def data(self, index: int) -> mujoco.MjData:
        """Return a copy of the plant's data with current kinematics."""
        mujoco.mj_copyData(self._copy, self._plant.model, self._plant.data)
        mujoco.mj_forward(self._plant.model, self._copy)
        return self._copy
