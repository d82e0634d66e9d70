"""Observation terms: functions of the state that return ``(num_envs, k)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab_envs.mdp import mirror
from stridelab_envs.mdp.commands import VelocityCommand, expect
from stridelab_envs.mdp.mirror import (
    AXIAL,
    UNCHANGED,
    VECTOR,
    feet,
    joints,
    midplane_body,
    mirrored,
    signed,
    wrists,
)
from stridelab_envs.mdp.skills import FootCommand, HeightCommand, WristCommand
from stridelab_envs.mdp.state import State
from stridelab_envs.robots.scene import FLOOR


@mirrored(joints)
def joint_pos(state: State) -> Tensor:
    """Joint angles [rad]."""
    return state.joint_pos


@mirrored(joints)
def joint_pos_rel(state: State) -> Tensor:
    """Joint angles relative to the default pose [rad]."""
    return state.joint_pos - state.default_pose


@mirrored(joints)
def joint_vel(state: State) -> Tensor:
    """Joint velocities [rad/s]."""
    return state.joint_vel


@mirrored(joints)
def last_action(state: State) -> Tensor:
    """The action just executed, after clipping."""
    return state.action


@mirrored(signed(1.0, -1.0, 1.0, -1.0))
def base_quat(state: State) -> Tensor:
    """Orientation of the base, ``wxyz``."""
    return state.base_quat


@mirrored(VECTOR)
def base_lin_vel(state: State) -> Tensor:
    """Linear velocity of the base [m/s], body frame."""
    return state.base_lin_vel


@mirrored(VECTOR)
def base_lin_vel_world(state: State) -> Tensor:
    """Linear velocity of the base [m/s], world frame."""
    return state.base_lin_vel_world


@mirrored(AXIAL)
def base_ang_vel(state: State) -> Tensor:
    """Angular velocity of the base [rad/s], body frame."""
    return state.base_ang_vel


@mirrored(VECTOR)
def projected_gravity(state: State) -> Tensor:
    """Unit vector of gravity, body frame."""
    return state.projected_gravity


@mirrored(VECTOR)
def base_lin_vel_heading(state: State) -> Tensor:
    """Linear velocity of the base [m/s], heading frame."""
    return state.base_lin_vel_heading


@mirrored(UNCHANGED)
def base_height(state: State) -> Tensor:
    """Height of the base's origin above the ground [m]."""
    return state.base_height.unsqueeze(1)


@mirrored(signed(-1.0))
def base_heading(state: State) -> Tensor:
    """Yaw of the base's x axis about the world's z axis [rad]."""
    return state.base_heading.unsqueeze(1)


@mirrored(wrists(1.0, -1.0, 1.0))
def wrist_pos(state: State) -> Tensor:
    """Positions of the wrists [m], left xyz, right xyz, in the frame of the wrists' command.

    That frame has the base's heading and its origin on the ground under the base.
    """
    return state.in_base_heading(state.wrist_pos).flatten(1)


@mirrored(feet(1.0, -1.0, 1.0))
def foot_pos(state: State) -> Tensor:
    """Positions of the feet [m], left xyz, right xyz, world frame."""
    return state.foot_pos.flatten(1)


@mirrored(feet(1.0))
def foot_contact(state: State) -> Tensor:
    """One for each foot on the ground, else zero."""
    return state.feet.contact.float()


@mirrored(signed(-1.0, -1.0))
def gait_clock(state: State, frequency: float) -> Tensor:
    """Sine and cosine of the gait phase, which advances ``frequency`` cycles a second [Hz].

    In the mirror it is half a cycle ahead: the other foot's turn.
    """
    phase = 2.0 * math.pi * frequency * state.gait_time
    return torch.stack([torch.sin(phase), torch.cos(phase)], dim=1)


@mirrored(mirror.command)
def command(state: State, name: str) -> Tensor:
    """The command called ``name``, as drawn."""
    return state.commands[name].value


@mirrored(mirror.command_columns)
def command_columns(state: State, name: str, columns: tuple[str, ...]) -> Tensor:
    """Some columns of the command called ``name``."""
    return torch.stack([state.commands[name].column(column) for column in columns], dim=1)


@mirrored(signed(1.0, -1.0, -1.0))
def mean_velocity(state: State, name: str) -> Tensor:
    """The velocity that the velocity command ``name`` compares itself with [m/s], [rad/s]."""
    return expect(state.commands[name], VelocityCommand).mean_velocity


@mirrored(wrists(1.0, -1.0, 1.0))
def wrist_error(state: State, name: str) -> Tensor:
    """Wrists minus targets [m], left xyz, right xyz, heading frame."""
    return expect(state.commands[name], WristCommand).error(state).flatten(1)


@mirrored(UNCHANGED)
def height_error(state: State, name: str) -> Tensor:
    """Height of the base minus command [m]."""
    return expect(state.commands[name], HeightCommand).error(state)


@mirrored(feet(1.0, -1.0))
def foot_error(state: State, name: str) -> Tensor:
    """Feet minus targets [m], left xy, right xy, heading frame."""
    return expect(state.commands[name], FootCommand).error(state).flatten(1)


@mirrored(UNCHANGED)
def time_left(state: State, name: str) -> Tensor:
    """Time until the command is drawn anew [s]."""
    return state.commands[name].time_left.unsqueeze(1)


@mirrored(feet(1.0))
def foot_force(state: State) -> Tensor:
    """Vertical ground reaction [N], positive upwards."""
    return state.foot_force


@mirrored(UNCHANGED)
def friction(state: State) -> Tensor:
    """Sliding friction of the ground."""
    number = state.sim.model.geom(FLOOR).id
    return state.sim.model_field("geom_friction")[:, number, :1].float()


@mirrored(midplane_body)
def body_mass(state: State, body: str) -> Tensor:
    """Mass of a body [kg]."""
    number = state.sim.model.body(body).id
    return state.sim.model_field("body_mass")[:, number : number + 1].float()
