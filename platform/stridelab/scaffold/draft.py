"""From a model to a robot: what the file says, and guesses where it is silent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from stridelab_envs.errors import UserError, unknown_name
from stridelab_envs.robots.geometry import lowest_points, mirror_joints

_STIFFNESS = 0.5
"""Guessed stiffness: this share of weight times standing height, at which a robot topples.
Walking robots of 3 to 50 kg have 0.2-2."""
_FULL_TORQUE_AT = 0.5
"""No guessed stiffness asks for the whole torque at a smaller error than this [rad]."""
_DAMPING_TIME = 0.03
"""Guessed ratio of damping to stiffness [s]; those robots have 0.015-0.1."""
_ARMATURE_TIME = 0.02
"""Guessed reflected inertia: what a gain swings at the inverse of this time [s]."""
_LEVER = 0.25
"""Guessed torque limit: the weight at this share of the standing height."""
_SOLE = 0.03
"""Bodies within this share of the standing height of the lowest point stand on the ground."""


@dataclass(frozen=True)
class JointDraft:
    """One hinge and its drive."""

    name: str
    low: float
    high: float
    """Range [rad]."""
    torque: float
    """Torque limit [N m]."""
    kp: float
    """Stiffness [N m/rad]."""
    kv: float
    """Damping [N m s/rad]."""


@dataclass
class RobotDraft:
    """A robot as far as its model tells, ready to be written down."""

    name: str
    model: mujoco.MjSpec
    """With position actuators in joint order and a contact sensor for each foot."""
    base_body: str
    joints: list[JointDraft]
    default_pose: list[float]
    home_height: float
    feet: list[str]
    joint_groups: dict[str, list[str]]
    mirror: list[tuple[str, float]]
    mass: float
    """[kg]"""
    notes: list[str] = field(default_factory=list)
    """What was guessed or changed, a sentence each."""


def draft_robot(spec: mujoco.MjSpec, name: str, path: Path, feet: Sequence[str] = ()) -> RobotDraft:
    """Make a robot of a model from :func:`stridelab.scaffold.source.read_model`.

    Args:
        spec: The model; it is changed.
        name: Name of the robot.
        path: Where the model came from, for messages.
        feet: Bodies of the feet, left before right; guessed when empty.

    Raises:
        UserError: If the model has no hinge, other joints than hinges, or nothing to stand on.
    """
    notes: list[str] = []
    base = next(body for body in spec.worldbody.bodies if body.parent == spec.worldbody)
    hinges = _hinges(spec, path)
    pose = _default_pose(spec, hinges, notes)
    drives = _drives(spec.compile(), [joint.name for joint in hinges])
    for element in [*spec.keys, *spec.sensors, *spec.actuators]:
        spec.delete(element)
    model = spec.compile()
    low, high = _ranges(model, hinges, notes)
    clipped = np.clip(pose, low, high)
    if np.abs(clipped - pose).max() > 1e-6:
        notes.append("The default pose was moved into the joints' ranges.")
    lowest = lowest_points(spec, np.concatenate([model.qpos0[:7], clipped]))
    if not lowest:
        raise UserError(f"{path}: no part can touch a floor; it needs geoms that collide")
    base_height = float(model.body(base.name).pos[2])
    home_height = base_height - min(lowest.values())
    found = _check_feet(feet, model) if feet else _guess_feet(model, lowest, home_height, notes)
    joints = _joint_drafts(spec, hinges, (low, high), drives, home_height, notes)
    mirror, unpaired = mirror_joints(model, [joint.name for joint in hinges])
    if unpaired:
        notes.append(f"No mirror image was found for: {', '.join(unpaired)}.")
    groups = _groups(model, [joint.name for joint in hinges], found, mirror)
    base.pos = [*np.asarray(base.pos)[:2], home_height]
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    for foot in found:
        _add_contact_sensor(spec, foot)
    return RobotDraft(
        name=name,
        model=spec,
        base_body=base.name,
        joints=joints,
        default_pose=[float(value) for value in clipped],
        home_height=home_height,
        feet=found,
        joint_groups=groups,
        mirror=mirror,
        mass=float(model.body_mass.sum()),
        notes=notes,
    )


def _hinges(spec: mujoco.MjSpec, path: Path) -> list[mujoco.MjsJoint]:
    joints = [joint for joint in spec.joints if joint.type != mujoco.mjtJoint.mjJNT_FREE]
    for joint in joints:
        if joint.type != mujoco.mjtJoint.mjJNT_HINGE:
            raise UserError(f'{path}: joint "{joint.name}" is no hinge; only hinges can be driven')
        if not joint.name:
            raise UserError(f"{path}: a joint of body {joint.parent.name} has no name")
    if not joints:
        raise UserError(f"{path}: has no hinge to drive")
    # The order of the compiled model decides that of every joint vector.
    order = {spec.compile().joint(i).name: i for i in range(len(joints) + 1)}
    return sorted(joints, key=lambda joint: order[joint.name])


def _default_pose(
    spec: mujoco.MjSpec, hinges: list[mujoco.MjsJoint], notes: list[str]
) -> NDArray[np.float64]:
    """Take the joints' part of a key frame, else zero everywhere."""
    model = spec.compile()
    names = [model.key(i).name for i in range(model.nkey)]
    standing = [i for i, name in enumerate(names) if "home" in name or "stand" in name]
    keys = [*standing, *range(model.nkey)]
    if not keys:
        notes.append("The default pose is zero everywhere; bent knees are easier to walk with.")
        return np.zeros(len(hinges))
    columns = [int(model.joint(joint.name).qposadr[0]) for joint in hinges]
    notes.append(f'The default pose is that of the key frame "{names[keys[0]]}".')
    pose: NDArray[np.float64] = model.key_qpos[keys[0]][columns]
    return pose


def _ranges(
    model: mujoco.MjModel, hinges: list[mujoco.MjsJoint], notes: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the joints' ranges; a hinge without one gets half a turn to either side."""
    ids = [model.joint(joint.name).id for joint in hinges]
    low, high = model.jnt_range[ids].T.copy()
    free = [i for i, joint in enumerate(ids) if not model.jnt_limited[joint]]
    for i in free:
        low[i], high[i] = -math.pi, math.pi
        hinges[i].range, hinges[i].limited = (low[i], high[i]), mujoco.mjtLimited.mjLIMITED_TRUE
    if free:
        named = ", ".join(hinges[i].name for i in free)
        notes.append(f"The file gives no range for {named}; it is half a turn to either side.")
    return low, high


@dataclass
class _Drive:
    """What the file says of a joint's drive; None where it is silent."""

    torque: float | None = None
    kp: float | None = None
    kv: float | None = None


def _drives(model: mujoco.MjModel, joints: list[str]) -> dict[str, _Drive]:
    """Read limits and gains of the actuators, and the joints' own torque limits."""
    drives = {name: _Drive() for name in joints}
    for name, drive in drives.items():
        joint = model.joint(name).id
        if model.jnt_actfrclimited[joint]:
            drive.torque = float(np.abs(model.jnt_actfrcrange[joint]).max())
    for i in range(model.nu):
        joint = int(model.actuator_trnid[i, 0])
        if model.actuator_trntype[i] != mujoco.mjtTrn.mjTRN_JOINT:
            continue
        drive, gear = drives[model.joint(joint).name], abs(float(model.actuator_gear[i, 0]))
        stiffness = float(model.actuator_gainprm[i, 0])
        affine = model.actuator_biastype[i] == mujoco.mjtBias.mjBIAS_AFFINE
        is_position = affine and model.actuator_biasprm[i, 1] == -stiffness != 0.0
        if model.actuator_forcelimited[i]:
            drive.torque = float(np.abs(model.actuator_forcerange[i]).max()) * gear
        elif model.actuator_ctrllimited[i] and not is_position:
            drive.torque = float(np.abs(model.actuator_ctrlrange[i]).max()) * stiffness * gear
        if is_position:
            drive.kp = stiffness * gear**2
            drive.kv = -float(model.actuator_biasprm[i, 2]) * gear**2
    return drives


def _joint_drafts(
    spec: mujoco.MjSpec,
    hinges: list[mujoco.MjsJoint],
    ranges: tuple[NDArray[np.float64], NDArray[np.float64]],
    drives: dict[str, _Drive],
    home_height: float,
    notes: list[str],
) -> list[JointDraft]:
    """Give every hinge a position actuator with the file's gains, or guessed ones."""
    model = spec.compile()
    weight = float(model.body_mass.sum()) * 9.81
    guessed: dict[str, list[str]] = {"torque limit": [], "gains": [], "armature": []}
    drafts = []
    for joint, low, high in zip(hinges, *ranges, strict=True):
        drive = drives[joint.name]
        torque, kp, kv = drive.torque, drive.kp, drive.kv
        if torque is None:
            torque = weight * _LEVER * home_height
            guessed["torque limit"].append(joint.name)
        if kp is None:
            kp = min(weight * home_height * _STIFFNESS, torque / _FULL_TORQUE_AT)
            guessed["gains"].append(joint.name)
        armature, damping = _passive(model, joint.name)
        if armature == 0.0:
            joint.armature = kp * _ARMATURE_TIME**2
            guessed["armature"].append(joint.name)
        if kv is None or (kv == 0.0 and damping == 0.0):
            kv = max(0.0, kp * _DAMPING_TIME - damping)
        drafts.append(JointDraft(joint.name, float(low), float(high), torque, kp, kv))
        _add_actuator(spec, drafts[-1])
    for what, names in guessed.items():
        if names:
            listed = "every joint" if len(names) == len(hinges) else ", ".join(names)
            notes.append(f"Guessed, for the file is silent: {what} of {listed}.")
    return drafts


def _passive(model: mujoco.MjModel, joint: str) -> tuple[float, float]:
    """Return armature and damping of a hinge."""
    dof = int(model.joint(joint).dofadr[0])
    return float(model.dof_armature[dof]), float(model.dof_damping[dof])


def _add_actuator(spec: mujoco.MjSpec, joint: JointDraft) -> None:
    """Add a position actuator; everything is written out, for a default class would fill in."""
    actuator = spec.add_actuator(
        name=joint.name, target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT
    )
    actuator.set_to_position(kp=joint.kp, kv=joint.kv)
    actuator.gear = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    actuator.inheritrange = 0.0
    actuator.ctrlrange = (joint.low, joint.high)
    actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_TRUE
    actuator.forcerange = (-joint.torque, joint.torque)
    actuator.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE


def _add_contact_sensor(spec: mujoco.MjSpec, foot: str) -> None:
    """Add the sensor that :class:`stridelab_envs.robots.RobotSpec` asks for: found, net force."""
    spec.add_sensor(
        name=f"{foot}_contact",
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        objname=foot,
        intprm=[3, 3, 1],
    )


def _check_feet(feet: Sequence[str], model: mujoco.MjModel) -> list[str]:
    bodies = [model.body(i).name for i in range(1, model.nbody)]
    for foot in feet:
        if foot not in bodies:
            raise UserError(f"--feet: {unknown_name('body', foot, bodies)}")
    return list(feet)


def _guess_feet(
    model: mujoco.MjModel, lowest: dict[str, float], home_height: float, notes: list[str]
) -> list[str]:
    """Take the bodies that stand on the ground, front before rear and left before right."""
    ground = min(lowest.values())
    standing = [name for name, z in lowest.items() if z - ground < _SOLE * home_height and name]
    above = {name: [n for n in _ancestors(model, name) if n in standing] for name in standing}
    higher = {n for name, over in above.items() for n in over if lowest[name] <= lowest[n]}
    higher |= {name for name, over in above.items() if any(lowest[n] < lowest[name] for n in over)}
    feet = [name for name in standing if name not in higher]
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)

    def place(name: str) -> tuple[int, float]:
        x, y, _ = data.body(name).xpos
        return -round(x / (0.5 * home_height)), -y

    feet.sort(key=place)
    notes.append(f"The feet are the bodies that stand on the ground: {', '.join(feet)}.")
    if len(feet) < 2:
        notes.append("A walking robot has at least two feet; name them with --feet.")
    return feet


def _ancestors(model: mujoco.MjModel, body: str) -> list[str]:
    found, index = [], int(model.body(body).parentid[0])
    while index:
        found.append(model.body(index).name)
        index = int(model.body_parentid[index])
    return found


def _groups(
    model: mujoco.MjModel, joints: list[str], feet: list[str], mirror: list[tuple[str, float]]
) -> dict[str, list[str]]:
    """Group the joints: those that carry a foot, other pairs, and those in the middle."""
    carrying = {body for foot in feet for body in [foot, *_ancestors(model, foot)]}
    groups: dict[str, list[str]] = {"legs": [], "arms": [], "body": []}
    for joint, (other, _) in zip(joints, mirror, strict=True):
        if model.body(int(model.joint(joint).bodyid[0])).name in carrying:
            groups["legs"].append(joint)
        else:
            groups["body" if other == joint else "arms"].append(joint)
    return {name: members for name, members in groups.items() if members}
