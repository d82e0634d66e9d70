"""The robot in plain MuJoCo: one ``MjModel`` and one ``MjData``, set up as a layout says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from stridelab.experiment.loader import load_file
from stridelab.sim2sim.drive import actuators_of, build_drive, is_position
from stridelab.sim2sim.layout import GaitClockSection, Layout, validate
from stridelab.sim2sim.observation import ObservationBuilder
from stridelab.sim2sim.per_joint import for_joints
from stridelab.sim2sim.signals import Reading
from stridelab_envs.errors import ConfigError, UserError, unknown_name
from stridelab_envs.robots.scene import build_scene

Vector = NDArray[np.float64]

_VELOCITY_LIMIT = 1e4
"""A generalised velocity beyond this [m/s or rad/s] is an explosion, not motion."""


class Plant:
    """A robot, driven at the layout's own rates.

    Args:
        model: The compiled model; it is changed to what the layout asks for.
        layout: The layout.

    Raises:
        ConfigError: The model lacks what the layout names; the path is the layout's.
    """

    def __init__(self, model: mujoco.MjModel, layout: Layout) -> None:
        self.model = model
        self.layout = layout
        model.opt.timestep = layout.timestep
        # MuJoCo would quietly put an exploded simulation back to its beginning.
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.joints, ids = _joints(model, layout)
        """Joint names in the policy's order."""
        self._qpos, self._dof = model.jnt_qposadr[ids], model.jnt_dofadr[ids]
        self._base_qpos, self._base_dof = _base(model, layout.base)
        self.default_pose = for_joints(layout.default_pose, self.joints, "default_pose")
        """Joint angles at action zero [rad], ``(num_joints,)``."""
        self.action_scale = for_joints(layout.action.scale, self.joints, "action.scale")
        """Joint offset per unit of action [rad], ``(num_joints,)``."""
        self._feet = _feet(model, layout)
        self._hold(ids)
        self._change_dynamics()
        self._drive = build_drive(model, layout.drive, self.joints, ids)
        self.data = mujoco.MjData(model)
        self.reset()
        still = self.read(time=0.0, command=np.zeros(3), last_action=np.zeros(len(ids)))
        self.observation = ObservationBuilder(layout, still)
        """What the policy sees of the robot."""

    @property
    def control_dt(self) -> float:
        """Control period [s]."""
        return self.layout.control_dt

    def _hold(self, policy_joints: Sequence[int]) -> None:
        """Note how driven joints that the policy does not know keep their place."""
        self._held_ctrl = np.zeros(self.model.nu)
        for joint in _driven(self.model):
            if joint in policy_joints:
                continue
            name, actuators = self.model.joint(joint).name, actuators_of(self.model, joint)
            if not all(is_position(self.model, actuator) for actuator in actuators):
                raise ConfigError(
                    "joints",
                    f'leaves out "{name}", and the model has no position actuator to hold it;'
                    " name it or use a model where it is fixed",
                )
            place = self.model.qpos0[self.model.jnt_qposadr[joint]]
            self._held_ctrl[actuators] = place * self.model.actuator_gear[actuators, 0]

    def _change_dynamics(self) -> None:
        fields = {
            "damping": self.model.dof_damping,
            "armature": self.model.dof_armature,
            "friction": self.model.dof_frictionloss,
        }
        for name, field in fields.items():
            value = getattr(self.layout.dynamics, name)
            path = f"dynamics.{name}"
            field[self._dof] = for_joints(value, self.joints, path, field[self._dof])

    def reset(self) -> None:
        """Put the robot at rest in its default pose."""
        mujoco.mj_resetData(self.model, self.data)
        if self.layout.base_height is not None:
            self.data.qpos[self._base_qpos + 2] = self.layout.base_height
        self.data.qpos[self._qpos] = self.default_pose
        self.data.ctrl[:] = self._held_ctrl
        mujoco.mj_forward(self.model, self.data)
        self._foot_force = np.zeros(len(self._feet))
        height = self.layout.fall.height
        self._lowest = self.base_pos[2] / 2 if height is None else height

    def step(self, target: Vector) -> None:
        """Drive the joints towards ``target (num_joints,)`` [rad] for one control period.

        Raises:
            UserError: The simulation blew up.
        """
        for _ in range(self.layout.decimation):
            self._drive.apply(self.data, target)
            mujoco.mj_step(self.model, self.data)
        if not np.abs(self.data.qvel).max() < _VELOCITY_LIMIT:
            raise UserError(
                f"the simulation blew up after {self.data.time:.2f} s; the layout's gains are too"
                " high for its timestep, or its pose is not the model's"
            )
        self._foot_force = self._vertical_forces()

    def read(self, *, time: float, command: Vector, last_action: Vector) -> Reading:
        """Return what can be observed now.

        Args:
            time: Time since the start [s].
            command: Forward, left [m/s], yaw rate [rad/s], ``(3,)``.
            last_action: The action just executed, ``(num_joints,)``.
        """
        data, qpos, dof = self.data, self._base_qpos, self._base_dof
        clock, phase = gait_phases(self.layout.gait_clock, time, command)
        return Reading(
            quat=data.qpos[qpos + 3 : qpos + 7].copy(),
            lin_vel_world=data.qvel[dof : dof + 3].copy(),
            ang_vel=data.qvel[dof + 3 : dof + 6].copy(),
            joint_pos=data.qpos[self._qpos],
            joint_vel=data.qvel[self._dof],
            default_pose=self.default_pose,
            last_action=last_action,
            foot_contact=(self._foot_force > self._force_threshold).astype(float),
            command=command,
            clock=clock,
            phase=phase,
        )

    @property
    def _force_threshold(self) -> float:
        return 0.0 if self.layout.feet is None else self.layout.feet.force

    @property
    def base_pos(self) -> Vector:
        """Position of the base frame's origin [m], world frame, ``(3,)``."""
        return np.array(self.data.qpos[self._base_qpos : self._base_qpos + 3])

    def fallen(self, reading: Reading) -> bool:
        """Tell whether the robot lies on the ground, or will."""
        tilt = float(np.arccos(np.clip(reading.rotation[2, 2], -1.0, 1.0)))
        return bool(self.base_pos[2] < self._lowest) or tilt > self.layout.fall.tilt

    def _vertical_forces(self) -> Vector:
        """Return what pushes each foot upwards [N], of the last physics step."""
        forces, wrench = np.zeros(len(self._feet)), np.zeros(6)
        if not self._feet:
            return forces
        for index, contact in enumerate(self.data.contact):
            bodies = [int(self.model.geom_bodyid[geom]) for geom in contact.geom]
            places = [self._feet.get(body) for body in bodies]
            if places == [None, None]:
                continue
            mujoco.mj_contactForce(self.model, self.data, index, wrench)
            # In contact coordinates; acts on the second geom, its reaction on the first.
            upwards = float(wrench[:3] @ np.reshape(contact.frame, (3, 3))[:, 2])
            for place, sign in zip(places, (-1.0, 1.0), strict=True):
                if place is not None:
                    forces[place] += sign * upwards
        return forces


def gait_phases(
    section: GaitClockSection | None, time: float, command: Vector
) -> tuple[float, float]:
    """Return the clock's phase and the gait's [cycle] at ``time`` [s] for ``command (3,)``."""
    if section is None:
        return 0.0, 0.0
    clock = time / section.period % 1.0
    stands = section.stand_below is not None and np.linalg.norm(command) <= section.stand_below
    return clock, section.stand_phase if stands else clock


def load_plant(model_path: Path, layout_path: Path, overrides: Sequence[str] = ()) -> Plant:
    """Read a model and a layout and fit them together.

    Args:
        model_path: MJCF file: a whole scene, or a robot alone, which gets a floor.
        layout_path: YAML file.
        overrides: Changes to the layout such as ``dynamics.damping=1.0``.

    Raises:
        UserError: Anything is wrong; one line, with file, line and key where it is the layout.
    """
    if not model_path.is_file():
        raise UserError(f"{model_path}: there is no such file")

    def build(mapping: Mapping[str, Any]) -> Plant:
        layout = validate(mapping)
        return Plant(build_model(model_path), layout)

    needs = "a layout needs at least timestep, decimation, default_pose, action, drive, observation"
    return load_file(layout_path, build, needs=needs, overrides=overrides)


def build_model(path: Path) -> mujoco.MjModel:
    """Compile an MJCF; a file without static geoms is a robot alone and gets a flat floor.

    Raises:
        UserError: It cannot be read or compiled.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        if not spec.worldbody.geoms:
            return build_scene(path)
        return spec.compile()
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: {' '.join(str(error).split())}") from None


def _joints(model: mujoco.MjModel, layout: Layout) -> tuple[tuple[str, ...], list[int]]:
    """Return names and ids of the policy's joints."""
    single = np.flatnonzero(model.jnt_type >= int(mujoco.mjtJoint.mjJNT_SLIDE))  # or hinge
    known = {model.joint(int(joint)).name: int(joint) for joint in single}
    if layout.joints is None:
        ids = _driven(model)
        if not ids:
            raise ConfigError("joints", "must be listed: no actuator of the model drives a joint")
        return tuple(model.joint(i).name for i in ids), ids
    for index, name in enumerate(layout.joints):
        if name not in known:
            raise ConfigError(f"joints[{index}]", unknown_name("joint", name, known))
    return tuple(layout.joints), [known[name] for name in layout.joints]


def _driven(model: mujoco.MjModel) -> list[int]:
    """Return the joints that actuators drive, in the order of the actuators."""
    at_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
    return list(dict.fromkeys(int(joint) for joint in model.actuator_trnid[at_joint, 0]))


def _base(model: mujoco.MjModel, name: str | None) -> tuple[int, int]:
    """Return where the base's free joint begins in ``qpos`` and ``qvel``."""
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    bodies = {model.body(int(model.jnt_bodyid[joint])).name: int(joint) for joint in free}
    if not bodies:
        raise UserError("the model has no free joint: its robot is fixed to the world")
    if name is not None and name not in bodies:
        raise ConfigError("base", unknown_name("body with a free joint", name, bodies))
    joint = next(iter(bodies.values())) if name is None else bodies[name]
    return int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])


def _feet(model: mujoco.MjModel, layout: Layout) -> dict[int, int]:
    """Return the place of each foot by its body's id."""
    known = {model.body(i).name: i for i in range(1, model.nbody)}
    names = [] if layout.feet is None else layout.feet.bodies
    for index, name in enumerate(names):
        if name not in known:
            raise ConfigError(f"feet.bodies[{index}]", unknown_name("body", name, known))
    return {known[name]: place for place, name in enumerate(names)}
