"""What an observation may hold: functions of one robot's state, by the names that tasks use.

Written apart from the training's batched terms, so that one can find fault with the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The state of one robot at one control step."""

    quat: Vector
    """Orientation of the base, ``wxyz``, body to world, ``(4,)``."""
    lin_vel_world: Vector
    """Velocity of the base frame's origin [m/s], world frame, ``(3,)``."""
    ang_vel: Vector
    """Angular velocity of the base [rad/s], body frame, ``(3,)``."""
    joint_pos: Vector
    """Joint angles [rad], in the policy's order, ``(num_joints,)``."""
    joint_vel: Vector
    """Joint velocities [rad/s], likewise."""
    default_pose: Vector
    """Joint angles at action zero [rad], likewise."""
    last_action: Vector
    """The action just executed, clipped; zero at the start, likewise."""
    foot_contact: Vector
    """One for each foot on the ground, else zero, ``(num_feet,)``."""
    command: Vector
    """Forward and left velocity [m/s], yaw rate [rad/s], heading frame, ``(3,)``."""
    clock: float
    """Phase of the gait clock [cycle]; it always runs."""
    phase: float
    """Phase of the gait [cycle]: that of the clock, or of standing."""

    @property
    def rotation(self) -> Vector:
        """Rotation matrix from body to world, ``(3, 3)``."""
        w, x, y, z = self.quat
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    @property
    def heading(self) -> float:
        """Yaw of the base's x axis about the world's vertical [rad]."""
        rotation = self.rotation
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def ang_vel_command(reading: Reading) -> Vector:
    """Yaw rate asked for [rad/s]."""
    return reading.command[2:]


def base_ang_vel(reading: Reading) -> Vector:
    """Angular velocity of the base [rad/s], body frame."""
    return reading.ang_vel


def base_lin_vel(reading: Reading) -> Vector:
    """Velocity of the base [m/s], body frame."""
    return reading.rotation.T @ reading.lin_vel_world


def base_lin_vel_heading(reading: Reading) -> Vector:
    """Velocity of the base [m/s], heading frame."""
    sine, cosine = np.sin(reading.heading), np.cos(reading.heading)
    x, y, z = reading.lin_vel_world
    return np.array([cosine * x + sine * y, cosine * y - sine * x, z])


def base_lin_vel_world(reading: Reading) -> Vector:
    """Velocity of the base [m/s], world frame."""
    return reading.lin_vel_world


def base_quat(reading: Reading) -> Vector:
    """Orientation of the base, `wxyz`, body to world."""
    return reading.quat


def base_rpy(reading: Reading) -> Vector:
    """Roll, pitch and yaw of the base [rad]: turns about z, then y, then x; each in (-pi, pi]."""
    m = reading.rotation
    pitch = np.arcsin(np.clip(-m[2, 0], -1.0, 1.0))
    return np.array([np.arctan2(m[2, 1], m[2, 2]), pitch, reading.heading])


def command(reading: Reading) -> Vector:
    """Forward and left velocity [m/s] and yaw rate [rad/s] asked for."""
    return reading.command


def foot_contact(reading: Reading) -> Vector:
    """One for each foot on the ground, else zero."""
    return reading.foot_contact


def gait_clock(reading: Reading) -> Vector:
    """Sine and cosine of the gait clock."""
    return _sine_cosine(reading.clock)


def gait_phase(reading: Reading) -> Vector:
    """Sine and cosine of the gait phase, which is that of standing for small commands."""
    return _sine_cosine(reading.phase)


def joint_pos(reading: Reading) -> Vector:
    """Joint angles [rad]."""
    return reading.joint_pos


def joint_pos_rel(reading: Reading) -> Vector:
    """Joint angles relative to the default pose [rad]."""
    return reading.joint_pos - reading.default_pose


def joint_vel(reading: Reading) -> Vector:
    """Joint velocities [rad/s]."""
    return reading.joint_vel


def measured_joint_pos_rel(reading: Reading) -> Vector:
    """As :func:`joint_pos_rel`: sensors are never late here."""
    return joint_pos_rel(reading)


def measured_joint_vel(reading: Reading) -> Vector:
    """As :func:`joint_vel`: sensors are never late here."""
    return joint_vel(reading)


def last_action(reading: Reading) -> Vector:
    """The action just executed, after clipping."""
    return reading.last_action


def lin_vel_command(reading: Reading) -> Vector:
    """Forward and left velocity asked for [m/s]."""
    return reading.command[:2]


def projected_gravity(reading: Reading) -> Vector:
    """Unit vector of gravity, body frame; (0, 0, -1) when upright."""
    return -reading.rotation[2]


def _sine_cosine(cycles: float) -> Vector:
    return np.array([np.sin(2.0 * np.pi * cycles), np.cos(2.0 * np.pi * cycles)])


SIGNALS: dict[str, Callable[[Reading], Vector]] = {
    signal.__name__: signal
    for signal in (
        ang_vel_command,
        base_ang_vel,
        base_lin_vel,
        base_lin_vel_heading,
        base_lin_vel_world,
        base_quat,
        base_rpy,
        command,
        foot_contact,
        gait_clock,
        gait_phase,
        joint_pos,
        joint_pos_rel,
        joint_vel,
        last_action,
        lin_vel_command,
        measured_joint_pos_rel,
        measured_joint_vel,
        projected_gravity,
    )
}
"""Signals by name."""
COMMANDS = {"command", "lin_vel_command", "ang_vel_command"}
"""Those that the command sets."""
