"""Does a robot's spec agree with its model, and does it stand?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np

from stridelab_envs.errors import unknown_name
from stridelab_envs.robots.geometry import lowest_points, mirror_joints
from stridelab_envs.robots.scene import build_scene
from stridelab_envs.robots.spec import RobotSpec

_HEIGHT_TOLERANCE = 0.01
"""How far the soles may be off the ground, as a share of the standing height."""
_FALLEN = 0.6
"""A robot whose base is below this share of its standing height has fallen."""
_TIMESTEP = 0.005
"""Physics step [s] of :func:`stand`; tasks' default."""


@dataclass(frozen=True)
class Standing:
    """How a robot that holds its default pose stands."""

    fell_after: float | None
    """Time [s] after which it had fallen; None if it stood to the end."""
    height: float
    """Height of the base's origin at the end [m]."""
    tilt: float
    """Angle of the base's z axis to the vertical at the end [rad]."""


def stand(robot: RobotSpec, seconds: float = 2.0) -> Standing:
    """Let a robot hold its default pose on flat ground, and see whether it falls."""
    model = build_scene(robot.mjcf)
    model.opt.timestep = _TIMESTEP
    data = mujoco.MjData(model)
    data.qpos[:] = _standing_qpos(robot, model)
    data.ctrl[:] = robot.default_pose
    body = data.body(robot.base_body)
    fell_after, tilt = None, 0.0
    while data.time < seconds and fell_after is None:
        mujoco.mj_step(model, data)
        tilt = math.acos(float(np.clip(body.xmat[8], -1.0, 1.0)))
        if body.xpos[2] < _FALLEN * robot.home_height or tilt > math.radians(60.0):
            fell_after = float(data.time)
    return Standing(fell_after, float(body.xpos[2]), tilt)


def robot_problems(robot: RobotSpec) -> list[str]:
    """Return what is wrong with a robot, a sentence each; empty if its spec fits its model.

    Raises:
        UserError: If the model cannot be compiled.
    """
    model = build_scene(robot.mjcf)
    problems = _missing_names(robot, model)
    if problems:  # nothing below can be looked at
        return problems
    return [
        *_order(robot, model),
        *_sensors(robot, model),
        *_pose(robot, model),
        *_height(robot, model),
        *_mirror(robot, model),
    ]


def _standing_qpos(robot: RobotSpec, model: mujoco.MjModel) -> np.ndarray:
    qpos: np.ndarray = model.qpos0.copy()
    base = int(model.joint(int(model.body(robot.base_body).jntadr[0])).qposadr[0])
    qpos[base + 2] = robot.home_height
    for name, angle in zip(robot.joints, robot.default_pose, strict=True):
        qpos[model.joint(name).qposadr[0]] = angle
    return qpos


def _missing_names(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    joints = [model.joint(i).name for i in range(model.njnt)]
    bodies = [model.body(i).name for i in range(model.nbody)]
    sensors = [model.sensor(i).name for i in range(model.nsensor)]
    wanted = [("joint", name, joints) for name in robot.joints]
    wanted += [("body", name, bodies) for name in (robot.base_body, *robot.feet)]
    wanted += [("sensor", f"{foot}_contact", sensors) for foot in robot.feet]
    problems = [
        f"the model has no such part: {unknown_name(kind, name, known)}"
        for kind, name, known in wanted
        if name not in known
    ]
    if not problems:
        first = int(model.body(robot.base_body).jntadr[0])
        if first < 0 or model.jnt_type[first] != mujoco.mjtJoint.mjJNT_FREE:
            problems = [f"body {robot.base_body} carries no free joint"]
    return problems


def _order(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    """Joint vectors are read as one block, and actuator i drives joint i."""
    ids = [model.joint(name).id for name in robot.joints]
    problems = []
    if ids != list(range(ids[0], ids[0] + len(ids))):
        order = ", ".join(model.joint(i).name for i in sorted(ids))
        problems.append(f"joints must stand in the order of the model: {order}")
    if model.nu != len(ids) or list(model.actuator_trnid[:, 0]) != ids:
        problems.append("actuator i must drive joint i, one for each joint")
    elif np.any(model.actuator_biasprm[:, 1] != -model.actuator_gainprm[:, 0]):
        problems.append("actuators must be position actuators")
    return problems


def _sensors(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    return [
        f'sensor {foot}_contact must give 4 numbers: data="found force" reduce="netforce"'
        for foot in robot.feet
        if int(model.sensor(f"{foot}_contact").dim[0]) != 4
    ]


def _pose(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    problems = []
    for name, angle in zip(robot.joints, robot.default_pose, strict=True):
        joint = model.joint(name)
        low, high = joint.range
        if model.jnt_limited[joint.id] and not low - 1e-6 <= angle <= high + 1e-6:
            problems.append(f"default_pose of {name} is {angle:g}, outside [{low:g}, {high:g}]")
    return problems


def _height(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    alone = mujoco.MjSpec.from_file(str(robot.mjcf))
    lowest = lowest_points(alone, _standing_qpos(robot, model))
    gap = min(lowest.values(), default=math.inf)
    if not lowest:
        return ["no part can touch the floor"]
    if abs(gap) <= _HEIGHT_TOLERANCE * robot.home_height:
        return []
    right = robot.home_height - gap
    where = "above" if gap > 0 else "below"
    return [f"the soles are {abs(gap):.3f} m {where} the ground: home_height must be {right:.4f}"]


def _mirror(robot: RobotSpec, model: mujoco.MjModel) -> list[str]:
    found, unpaired = mirror_joints(model, robot.joints)
    return [
        f"mirror of {joint} is {given}, but by its place and axis it must be {expected}"
        for joint, given, expected in zip(robot.joints, robot.mirror, found, strict=True)
        if joint not in unpaired and tuple(given) != expected
    ]
