"""What terms may look at: the robots' state by name, in stated frames and units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mujoco
import torch
from torch import Tensor

from stridelab_envs.errors import UserError, unknown_name
from stridelab_envs.mdp.actuators import Actuators
from stridelab_envs.mdp.commands import Command
from stridelab_envs.mdp.feet import FeetTracker
from stridelab_envs.mdp.lags import Lags
from stridelab_envs.mdp.math import (
    gravity_direction,
    heading,
    roll_pitch_yaw,
    rotate,
    rotate_inverse,
    to_heading,
)
from stridelab_envs.mdp.objects import Objects
from stridelab_envs.mdp.pushes import Push
from stridelab_envs.physics import Simulation
from stridelab_envs.robots.spec import RobotSpec
from stridelab_envs.terrain import Terrain

_REMEMBERED = (
    "action",
    "last_action",
    "last_last_action",
    "last_joint_vel",
    "last_base_vel",
    "foot_lift",
    "_lift_from",
    "episode_step",
    "gait_offset",
)
"""Tensors that are carried from step to step."""
_PARTS = ("feet", "actuators", "push")
"""Parts that remember something of their own."""


class State:
    """The state of ``num_envs`` robots after a control step.

    Tensors are float32 and belong to this object: a term reads them and returns something new.
    Quantities that cost something are computed when first asked for, once per step.
    """

    def __init__(
        self,
        sim: Simulation,
        robot: RobotSpec,
        generator: torch.Generator,
        *,
        max_episode_steps: int,
        terrain: Terrain | None = None,
        objects: Sequence[str] = (),
        contact_threshold: float = 1.0,
        min_stance_time: float = 0.06,
        min_switch_interval: float = 0.0,
    ) -> None:
        self.sim = sim
        self.robot = robot
        self.generator = generator
        """Source of every random number of the environment."""
        self.num_envs = sim.num_envs
        self.dt = sim.control_dt
        """Control period [s]."""
        self.max_episode_steps = max_episode_steps
        """Control steps after which an episode is truncated."""
        self.terrain = terrain
        """Heights of the ground; None where it is flat."""
        model = sim.model
        self.base_slices = _free_joint_slices(model, robot)
        """Columns of the free joint in ``qpos`` (7) and ``qvel`` (6)."""
        self.joint_slices = _hinge_slices(model, robot)
        """Columns of the hinges in ``qpos`` and ``qvel``."""
        self._joint_index = {name: i for i, name in enumerate(robot.joints)}
        self._foot_bodies = [model.body(foot).id for foot in robot.feet]
        self._wrist_sites = [model.site(wrist).id for wrist in robot.wrists]
        self._root_body = model.body(robot.base_body).id
        self._body_ids: dict[tuple[str, ...], list[int]] = {}
        self._foot_force = torch.tensor(
            [model.sensor(f"{foot}_contact").adr[0] + 3 for foot in robot.feet]
        )
        self.objects = Objects(sim, objects)
        """What the scene holds besides the robot."""
        count, actions = self.num_envs, robot.num_joints
        self.default_pose = torch.tensor(robot.default_pose)
        """Standing pose [rad], ``(num_joints,)``."""
        joints = [model.joint(name).id for name in robot.joints]
        self.joint_range = torch.tensor(model.jnt_range[joints], dtype=torch.float32)
        """Lower and upper stop of each joint [rad], ``(num_joints, 2)``."""
        limits = model.actuator_forcerange[:actions, 1]
        self.joint_torque_limit = torch.tensor(limits, dtype=torch.float32)
        """Greatest torque of each actuator [N m], ``(num_joints,)``."""
        self.joint_vel_limit = torch.tensor(robot.velocity_limits)
        """Greatest speed of each motor [rad/s], ``(num_joints,)``; empty if not known."""
        self.actuators = Actuators(sim, actions)
        """What differs from environment to environment in the motors."""
        self.lags = Lags(sim, robot, self.joint_slices)
        """Delays of motors and joint sensors."""
        self.push = Push(sim, self.base_slices[1], generator)
        """The pushes in progress."""
        self.action = torch.zeros(count, actions)
        """Action of this step after clipping, ``(num_envs, num_joints)``."""
        self.last_action = torch.zeros(count, actions)
        """Action of the step before; zero at the start of an episode."""
        self.last_last_action = torch.zeros(count, actions)
        """Action of the step before that; zero at the start of an episode."""
        self.last_joint_vel = torch.zeros(count, actions)
        """Joint velocities before this step [rad/s], ``(num_envs, num_joints)``."""
        self.last_base_vel = torch.zeros(count, 6)
        """:attr:`base_vel` before this step, ``(num_envs, 6)``."""
        self.foot_lift = torch.zeros(count, len(robot.feet))
        """Height [m] each foot has gained since it last touched the ground."""
        self._lift_from = torch.zeros(count, len(robot.feet))
        self.terminated = torch.zeros(count, dtype=torch.bool)
        """Whether this step ended the episode in failure; known to metrics, ``(num_envs,)``."""
        self.reward = torch.zeros(count)
        """Reward of this step; known to metrics, ``(num_envs,)``."""
        self.commands: dict[str, Command] = {}
        """What the policy is asked to do, by name; the environment fills and advances them."""
        self.episode_step = torch.zeros(count, dtype=torch.long)
        """Control steps since the start of the episode, ``(num_envs,)``."""
        self.gait_offset = torch.zeros(count)
        """What the gait clock showed when the episode began [s], ``(num_envs,)``."""
        self.feet = FeetTracker(
            count,
            len(robot.feet),
            self.dt,
            force_threshold=contact_threshold,
            min_stance=min_stance_time,
            min_switch_interval=min_switch_interval,
        )
        self._cache: dict[str, Tensor] = {}
        for name in ("sensordata", "actuator_force", "xpos", "cvel", "subtree_com", "site_xpos"):
            sim.read(name)  # bound before the first step, or its forces would be lost

    def begin_step(self, action: Tensor) -> None:
        """Take in the clipped action, ``(num_envs, num_joints)``, before physics moves on."""
        self.last_last_action, self.last_action = self.last_action, self.action
        self.action = action
        self.last_joint_vel.copy_(self.joint_vel)
        self.last_base_vel.copy_(self.base_vel)

    def end_step(self) -> None:
        """Take in the new physics state; advances clocks and contacts."""
        self._cache.clear()
        self.episode_step += 1
        self.feet.update(self.foot_force)
        self.follow_lift()

    def follow_lift(self) -> None:
        """Take in how high the feet are, after their contacts."""
        height = self.foot_pos[..., 2]
        self.foot_lift = height - self._lift_from
        self._lift_from = torch.where(self.feet.contact, height, self._lift_from)

    def velocity_written(self) -> None:
        """Forget what was computed from velocities that have been written since."""
        self.sim.velocity_written()
        self._cache.clear()

    def forget(self, ids: Tensor) -> None:
        """Let nothing have come before the episodes that begin in environments ``ids (k,)``.

        What puts robots into states they had while moving may then write ``action`` and
        ``gait_offset``.
        """
        # Out of place: the tensor may be referred to by a caller.
        self.action = self.action.index_fill(0, ids, 0.0)
        self.gait_offset[ids] = 0.0

    def reset(self, ids: Tensor) -> None:
        """Start a new episode for environments ``ids (k,)``; physics is reset already."""
        self._cache.clear()
        self.episode_step[ids] = 0
        self.last_action = self.last_action.index_copy(0, ids, self.action[ids])
        self.last_last_action = self.last_last_action.index_copy(0, ids, self.action[ids])
        self.last_joint_vel[ids] = self.joint_vel[ids]
        self.last_base_vel[ids] = self.base_vel[ids]
        self.foot_lift[ids] = 0.0
        self._lift_from[ids] = self.foot_pos[ids, :, 2]
        self.feet.reset(ids)
        self.push.reset(ids)

    def get_state(self) -> dict[str, Any]:
        """Return what is remembered from step to step."""
        remembered = {name: getattr(self, name).clone() for name in _REMEMBERED}
        parts = {name: getattr(self, name).get_state() for name in _PARTS}
        return {**remembered, **parts}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` returned."""
        self._cache.clear()
        for name in _REMEMBERED:
            setattr(self, name, state[name].clone())
        for name in _PARTS:
            getattr(self, name).set_state(state[name])

    def once(self, name: str, compute: Callable[[], Tensor]) -> Tensor:
        """Return ``compute()``, which is called at most once a step for each ``name``."""
        if name not in self._cache:
            self._cache[name] = compute()
        return self._cache[name]

    @property
    def joint_pos(self) -> Tensor:
        """Joint angles [rad], ``(num_envs, num_joints)``."""
        return self.sim.read("qpos")[:, self.joint_slices[0]]

    @property
    def joint_vel(self) -> Tensor:
        """Joint velocities [rad/s], ``(num_envs, num_joints)``."""
        return self.sim.read("qvel")[:, self.joint_slices[1]]

    @property
    def measured_joint_pos(self) -> Tensor:
        """Joint angles as sensors tell them, perhaps late [rad], ``(num_envs, num_joints)``."""
        lagged = self.lags.joint_pos()
        return self.joint_pos if lagged is None else lagged

    @property
    def measured_joint_vel(self) -> Tensor:
        """Joint velocities as sensors tell them [rad/s], ``(num_envs, num_joints)``."""
        lagged = self.lags.joint_vel()
        return self.joint_vel if lagged is None else lagged

    @property
    def joint_torque(self) -> Tensor:
        """Actuator torques of the last physics step [N m], ``(num_envs, num_joints)``."""
        return self.sim.read("actuator_force")

    @property
    def base_pos(self) -> Tensor:
        """Position of the base frame's origin [m], world frame, ``(num_envs, 3)``."""
        start = self.base_slices[0].start
        return self.sim.read("qpos")[:, start : start + 3]

    def ground_height(self, points: Tensor) -> Tensor:
        """Height of the ground [m] under world points ``(num_envs, ..., 3)``, without the last."""
        if self.terrain is None:
            return points.new_zeros(points.shape[:-1])
        return self.terrain.height(points)

    @property
    def base_height(self) -> Tensor:
        """Height of the base frame's origin above the ground under it [m], ``(num_envs,)``."""
        return self.once(
            "base_height", lambda: self.base_pos[:, 2] - self.ground_height(self.base_pos)
        )

    @property
    def base_quat(self) -> Tensor:
        """Orientation of the base, ``wxyz``, body to world, ``(num_envs, 4)``."""
        start = self.base_slices[0].start + 3
        return self.sim.read("qpos")[:, start : start + 4]

    @property
    def base_lin_vel_world(self) -> Tensor:
        """Linear velocity of the base frame's origin [m/s], world frame, ``(num_envs, 3)``."""
        start = self.base_slices[1].start
        return self.sim.read("qvel")[:, start : start + 3]

    @property
    def base_ang_vel(self) -> Tensor:
        """Angular velocity of the base [rad/s], body frame, ``(num_envs, 3)``."""
        start = self.base_slices[1].start + 3
        return self.sim.read("qvel")[:, start : start + 3]

    @property
    def base_lin_vel(self) -> Tensor:
        """Linear velocity of the base [m/s], body frame, ``(num_envs, 3)``."""
        return self.once(
            "base_lin_vel", lambda: rotate_inverse(self.base_quat, self.base_lin_vel_world)
        )

    @property
    def base_vel(self) -> Tensor:
        """Linear [m/s] and angular [rad/s] velocity of the base, world frame, ``(num_envs, 6)``."""
        return self.once("base_vel", self._compute_base_vel)

    def _compute_base_vel(self) -> Tensor:
        angular = rotate(self.base_quat, self.base_ang_vel)
        return torch.cat([self.base_lin_vel_world, angular], dim=1)

    @property
    def base_rpy(self) -> Tensor:
        """Roll, pitch and yaw of the base [rad], as of ``roll_pitch_yaw``, ``(num_envs, 3)``."""
        return self.once("base_rpy", lambda: roll_pitch_yaw(self.base_quat))

    @property
    def projected_gravity(self) -> Tensor:
        """Unit vector of gravity, body frame, ``(num_envs, 3)``."""
        return self.once("projected_gravity", lambda: gravity_direction(self.base_quat))

    @property
    def base_heading(self) -> Tensor:
        """Yaw of the base's x axis about the world's z axis [rad], ``(num_envs,)``."""
        return self.once("base_heading", lambda: heading(self.base_quat))

    @property
    def base_lin_vel_heading(self) -> Tensor:
        """Linear velocity of the base [m/s], heading frame, ``(num_envs, 3)``."""
        return self.once("base_lin_vel_heading", lambda: self.in_heading(self.base_lin_vel_world))

    @property
    def yaw_rate(self) -> Tensor:
        """Angular velocity of the base about the world's z axis [rad/s], ``(num_envs,)``."""
        return self.once(
            "yaw_rate", lambda: -(self.base_ang_vel * self.projected_gravity).sum(dim=1)
        )

    @property
    def wrist_pos(self) -> Tensor:
        """Positions of the wrists [m], world frame, ``(num_envs, num_wrists, 3)``."""
        return self.once("wrist_pos", lambda: self.sim.pick("site_xpos", self._wrist_sites))

    def in_heading(self, vector: Tensor) -> Tensor:
        """Turn world vectors ``(num_envs, 3)`` into the base's heading frame."""
        return to_heading(self.base_heading, vector)

    def in_base_heading(self, points: Tensor) -> Tensor:
        """Return world points ``(num_envs, n, 3)`` [m] relative to the base, in its heading frame.

        The origin lies on the ground under the base's origin.
        """
        ground = self.ground_height(self.base_pos)
        origin = torch.cat([self.base_pos[:, :2], ground.unsqueeze(1)], dim=1)
        return to_heading(self.base_heading.unsqueeze(1), points - origin.unsqueeze(1))

    @property
    def foot_force(self) -> Tensor:
        """Vertical ground reaction [N], positive upwards, ``(num_envs, num_feet)``."""
        # The sensor reports the force the foot exerts: downwards is negative.
        return self.once("foot_force", lambda: -self.sim.read("sensordata")[:, self._foot_force])

    @property
    def foot_pos(self) -> Tensor:
        """Positions of the foot bodies' frames [m], world frame, ``(num_envs, num_feet, 3)``."""
        return self.once("foot_pos", lambda: self.sim.pick("xpos", self._foot_bodies))

    @property
    def foot_quat(self) -> Tensor:
        """Orientations of the foot bodies, ``wxyz``, ``(num_envs, num_feet, 4)``."""
        return self.once("foot_quat", lambda: self.sim.pick("xquat", self._foot_bodies))

    def body_pos(self, bodies: tuple[str, ...]) -> Tensor:
        """Positions of ``bodies``' frames [m], world frame, ``(num_envs, len(bodies), 3)``."""
        if bodies not in self._body_ids:
            self._body_ids[bodies] = [self.sim.model.body(name).id for name in bodies]
        return self.sim.pick("xpos", self._body_ids[bodies])

    def contact_force(self, body: str) -> Tensor:
        """Force between a body and what it touches [N], ``(num_envs, 3)``; sign as the sensor's.

        The robot's model has a contact sensor ``<body>_contact`` as its feet do, or the task names
        the body among its ``contact_bodies``.
        """
        start = int(self.sim.model.sensor(f"{body}_contact").adr[0]) + 1
        return self.sim.read("sensordata")[:, start : start + 3]

    @property
    def foot_vel(self) -> Tensor:
        """Velocities of the foot bodies' frames [m/s], world frame, ``(num_envs, num_feet, 3)``."""
        return self.once("foot_vel", self._compute_foot_vel)

    def _compute_foot_vel(self) -> Tensor:
        # MuJoCo's cvel is (angular, linear) at the centre of mass of the kinematic tree.
        cvel = self.sim.pick("cvel", self._foot_bodies)
        centre = self.sim.pick("subtree_com", [self._root_body])
        return cvel[..., 3:] + torch.linalg.cross(cvel[..., :3], self.foot_pos - centre)

    @property
    def episode_time(self) -> Tensor:
        """Time since the start of the episode [s], ``(num_envs,)``."""
        return self.once("episode_time", lambda: self.episode_step * self.dt)

    @property
    def gait_time(self) -> Tensor:
        """What the gait clock shows [s], ``(num_envs,)``."""
        return self.once("gait_time", lambda: self.episode_time + self.gait_offset)

    def joint_ids(self, names: tuple[str, ...]) -> list[int]:
        """Return the places of joints or joint groups ``names`` in a joint vector.

        Raises:
            UserError: If the robot has no such joint or group.
        """
        found: list[int] = []
        known = (*self.robot.joints, *self.robot.joint_groups)
        for name in names:
            if name not in known:
                raise UserError(f"{self.robot.name}: {unknown_name('joint', name, known)}")
            members = self.robot.joint_groups.get(name, (name,))
            found += [self._joint_index[member] for member in members]
        return found


def _free_joint_slices(model: mujoco.MjModel, robot: RobotSpec) -> tuple[slice, slice]:
    joint = int(model.body(robot.base_body).jntadr[0])
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
        raise ValueError(f"{robot.name}: body {robot.base_body} carries no free joint")
    qpos, qvel = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
    return slice(qpos, qpos + 7), slice(qvel, qvel + 6)


def _hinge_slices(model: mujoco.MjModel, robot: RobotSpec) -> tuple[slice, slice]:
    ids = [model.joint(name).id for name in robot.joints]
    starts = []
    for addresses in (model.jnt_qposadr[ids], model.jnt_dofadr[ids]):
        start = int(addresses[0])
        if list(addresses) != list(range(start, start + len(ids))):
            raise ValueError(f"{robot.name}: joints must lie in the MJCF in the order of the spec")
        starts.append(slice(start, start + len(ids)))
    driven = [int(model.actuator_trnid[i, 0]) for i in range(len(ids))]
    if driven != ids:
        raise ValueError(f"{robot.name}: actuator i must drive joint i of the spec")
    return starts[0], starts[1]
