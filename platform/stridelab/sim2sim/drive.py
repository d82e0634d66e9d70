"""Turning joint targets into torques, through a model's actuators or straight onto its joints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from stridelab.sim2sim.layout import DriveSection
from stridelab.sim2sim.per_joint import for_joints
from stridelab_envs.errors import ConfigError

Vector = NDArray[np.float64]


class Drive(ABC):
    """Drives the policy's joints towards targets."""

    @abstractmethod
    def apply(self, data: mujoco.MjData, target: Vector) -> None:
        """Set the controls of the next physics step for joint angles ``target (num_joints,)``."""


class TorqueDrive(Drive):
    """Computes ``kp (target - q) - kd dq`` itself, at every physics step.

    The joint's actuator is made a plain motor, so that what limits its force in the model still
    does; a joint without one gets the torque as an applied force.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        section: DriveSection,
        joints: Sequence[str],
        ids: Sequence[int],
    ) -> None:
        assert section.kp is not None and section.kd is not None  # the layout holds that
        self._kp = for_joints(section.kp, joints, "drive.kp")
        self._kd = for_joints(section.kd, joints, "drive.kd")
        unlimited = np.full(len(joints), np.inf)
        self._limit = for_joints(section.torque_limit, joints, "drive.torque_limit", unlimited)
        self._qpos, self._dof = model.jnt_qposadr[ids], model.jnt_dofadr[ids]
        found = [actuators_of(model, joint) for joint in ids]
        for actuators in found:
            self._silence(model, actuators[1:])
            if actuators and not _is_motor(model, actuators[0]):
                self._make_motor(model, actuators[0])
        self._driven = np.flatnonzero([bool(actuators) for actuators in found])
        self._bare = np.flatnonzero([not actuators for actuators in found])
        self._actuators = np.array([a[0] for a in found if a], dtype=int)
        self._per_torque = 1.0 / (
            model.actuator_gear[self._actuators, 0] * model.actuator_gainprm[self._actuators, 0]
        )

    def _silence(self, model: mujoco.MjModel, actuators: Sequence[int]) -> None:
        for actuator in actuators:
            model.actuator_gainprm[actuator] = model.actuator_biasprm[actuator] = 0.0

    def _make_motor(self, model: mujoco.MjModel, actuator: int) -> None:
        self._silence(model, [actuator])
        model.actuator_gaintype[actuator] = mujoco.mjtGain.mjGAIN_FIXED
        model.actuator_gainprm[actuator, 0] = 1.0
        model.actuator_biastype[actuator] = mujoco.mjtBias.mjBIAS_NONE
        model.actuator_ctrllimited[actuator] = False  # the range was one of positions

    def apply(self, data: mujoco.MjData, target: Vector) -> None:
        """Set the torques of the next physics step."""
        torque = self._kp * (target - data.qpos[self._qpos]) - self._kd * data.qvel[self._dof]
        torque = np.clip(torque, -self._limit, self._limit)
        data.ctrl[self._actuators] = torque[self._driven] * self._per_torque
        data.qfrc_applied[self._dof[self._bare]] = torque[self._bare]


class PositionDrive(Drive):
    """Hands targets to the model's own position actuators; gains given replace the model's."""

    def __init__(
        self,
        model: mujoco.MjModel,
        section: DriveSection,
        joints: Sequence[str],
        ids: Sequence[int],
    ) -> None:
        actuators = []
        for name, joint in zip(joints, ids, strict=True):
            own = [a for a in actuators_of(model, joint) if is_position(model, a)]
            if len(own) != 1:
                raise ConfigError(
                    "drive.kind",
                    f'position needs one position actuator for joint "{name}", the model has'
                    f" {len(own)}; use torque, with kp and kd",
                )
            actuators.append(own[0])
        self._actuators = np.array(actuators)
        self._gear = model.actuator_gear[self._actuators, 0]
        gain, bias = model.actuator_gainprm, model.actuator_biasprm
        kp = for_joints(section.kp, joints, "drive.kp", gain[self._actuators, 0])
        kd = for_joints(section.kd, joints, "drive.kd", -bias[self._actuators, 2])
        gain[self._actuators, 0], bias[self._actuators, 1], bias[self._actuators, 2] = kp, -kp, -kd
        self._limit_torque(model, section, joints)

    def _limit_torque(
        self, model: mujoco.MjModel, section: DriveSection, joints: Sequence[str]
    ) -> None:
        limited = model.actuator_forcelimited[self._actuators]
        own = np.where(limited, model.actuator_forcerange[self._actuators, 1], np.inf)
        limit = for_joints(section.torque_limit, joints, "drive.torque_limit", own)
        changed = self._actuators[limit != own]
        model.actuator_forcelimited[changed] = True
        model.actuator_forcerange[changed, 0] = -limit[limit != own]
        model.actuator_forcerange[changed, 1] = limit[limit != own]

    def apply(self, data: mujoco.MjData, target: Vector) -> None:
        """Set the targets of the next physics step."""
        data.ctrl[self._actuators] = target * self._gear


def build_drive(
    model: mujoco.MjModel, section: DriveSection, joints: Sequence[str], ids: Sequence[int]
) -> Drive:
    """Return the drive of a layout; the model's actuators are changed to suit.

    Args:
        model: The model.
        section: From the layout.
        joints: Names in the policy's order.
        ids: Their ids in the model.

    Raises:
        ConfigError: The model has not the actuators that the layout asks for.
    """
    kind = TorqueDrive if section.kind == "torque" else PositionDrive
    return kind(model, section, joints, ids)


def actuators_of(model: mujoco.MjModel, joint: int) -> list[int]:
    """Return the ids of the actuators that act on a joint alone."""
    at_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    return [int(a) for a in np.flatnonzero(at_joint & (model.actuator_trnid[:, 0] == joint))]


def is_position(model: mujoco.MjModel, actuator: int) -> bool:
    """Tell whether an actuator drives its joint towards a position."""
    gain, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator, 1]
    return bool(
        model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE
        and gain > 0.0
        and gain == -bias
    )


def _is_motor(model: mujoco.MjModel, actuator: int) -> bool:
    return bool(
        model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED
        and model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_NONE
        and model.actuator_dyntype[actuator] == mujoco.mjtDyn.mjDYN_NONE
    )
