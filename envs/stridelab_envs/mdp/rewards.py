"""Reward terms: functions of the state that return ``(num_envs,)``; weights live in the task."""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp.state import State


def upright_quaternion(state: State) -> Tensor:
    """Square of the base quaternion's scalar part; 1 when upright and facing the world's x.

    It falls with yaw as well as with tilt: turning half round on the spot scores zero.
    """
    return state.base_quat[:, 0].square()


def forward_velocity(state: State, limit: float = 1.0) -> Tensor:
    """Velocity of the base along the world's x axis [m/s], clipped to ``[0, limit]``."""
    return state.base_lin_vel_world[:, 0].clamp(0.0, limit)


def height_linear(state: State, target: float) -> Tensor:
    """``1 - |z - target|`` of the base height [m], clipped to ``[0, 1]``."""
    return (1.0 - (state.base_height - target).abs()).clamp(0.0, 1.0)


def foot_switch(state: State) -> Tensor:
    """One in the step in which the stance foot changes."""
    return state.feet.switched.float()


def any_foot_contact(state: State) -> Tensor:
    """One while at least one foot touches the ground."""
    return state.feet.contact.any(dim=1).float()


def no_foot_contact(state: State) -> Tensor:
    """One while no foot touches the ground."""
    return (~state.feet.contact.any(dim=1)).float()


def both_feet_contact(state: State) -> Tensor:
    """One while every foot touches the ground."""
    return state.feet.contact.all(dim=1).float()


def single_stance(state: State) -> Tensor:
    """One while exactly one foot touches the ground."""
    return (state.feet.contact.sum(dim=1) == 1).float()


def air_time_above(state: State, threshold: float) -> Tensor:
    """Sum over feet touching down now of the flight time beyond ``threshold`` [s]."""
    excess = (state.feet.air_time - threshold).clamp(min=0.0)
    return (excess * state.feet.touchdown).sum(dim=1)


def swing_foot_height(state: State, limit: float) -> Tensor:
    """Height of the higher foot above the lower one [m], as a share of ``limit`` [m], at most 1."""
    height = state.foot_pos[..., 2]
    return ((height.amax(dim=1) - height.amin(dim=1)) / limit).clamp(0.0, 1.0)


def same_stance_time(state: State, grace: float) -> Tensor:
    """Time [s] beyond ``grace`` [s] for which the stance foot has not changed, at most 1."""
    return (state.feet.time_since_switch - grace).clamp(0.0, 1.0)


def transition_attempt(state: State, speed: float) -> Tensor:
    """Upward speed of the foot about to leave, while both touch, as a share of ``speed`` [m/s]."""
    rising = state.foot_vel[..., 2].amax(dim=1) / speed
    return rising.clamp(0.0, 1.0) * state.feet.contact.all(dim=1)


def foot_slip(state: State) -> Tensor:
    """Horizontal speed [m/s] of feet that touch the ground, summed over feet."""
    speed = state.foot_vel[..., :2].norm(dim=-1)
    return (speed * state.feet.contact).sum(dim=1)


def gated_forward_velocity(state: State, limit: float = 1.0) -> Tensor:
    """Forward velocity [m/s] within ``[0, limit]``, counted only while one foot carries."""
    return forward_velocity(state, limit) * single_stance(state)


def opposed_joints(state: State, first: str, second: str, width: float) -> Tensor:
    """``exp(-(d1 + d2)^2 / width^2)`` of two joints' offsets from the default pose [rad]."""
    columns = state.joint_ids((first, second))
    offset = (state.joint_pos[:, columns] - state.default_pose[columns]).sum(dim=1)
    return torch.exp(-(offset / width).square())


def action_rate(state: State) -> Tensor:
    """Squared change of the action from the step before, summed over joints."""
    return (state.action - state.last_action).square().sum(dim=1)


def joint_vel_square(state: State) -> Tensor:
    """Squared joint velocity [rad^2/s^2], summed over joints."""
    return state.joint_vel.square().sum(dim=1)


def joint_torque_square(state: State) -> Tensor:
    """Squared actuator torque [N^2 m^2], summed over joints."""
    return state.joint_torque.square().sum(dim=1)


def vertical_velocity_square(state: State) -> Tensor:
    """Squared vertical velocity of the base [m^2/s^2]."""
    return state.base_lin_vel_world[:, 2].square()


def tilt_rate_square(state: State) -> Tensor:
    """Squared roll and pitch rates of the base [rad^2/s^2], summed."""
    return state.base_ang_vel[:, :2].square().sum(dim=1)


def joint_acc_square(state: State) -> Tensor:
    """Squared joint acceleration over the step [rad^2/s^4], summed over joints."""
    return ((state.joint_vel - state.last_joint_vel) / state.dt).square().sum(dim=1)


def orientation(state: State) -> Tensor:
    """Mean of ``exp(-10 (|roll| + |pitch|))`` and ``exp(-20 |g_xy|)``; 1 when upright."""
    x, y, z = state.projected_gravity.unbind(dim=1)
    angles = torch.atan2(-y, -z).abs() + torch.asin(x.clamp(-1.0, 1.0)).abs()
    tilt = torch.hypot(x, y)
    return 0.5 * (torch.exp(-10.0 * angles) + torch.exp(-20.0 * tilt))


def joint_deviation(state: State, group: str, sharpness: float) -> Tensor:
    """``exp(-sharpness d)``, d = mean absolute offset [rad] of a group from the default pose."""
    columns = state.joint_ids((group,))
    offset = state.joint_pos[:, columns] - state.default_pose[columns]
    return torch.exp(-sharpness * offset.abs().mean(dim=1))


def hips_straight(state: State, joints: tuple[str, ...]) -> Tensor:
    """``exp(-100 y) - 0.01 |q - q0|`` with y = distance beyond 0.1 rad of yaw and roll joints.

    The second norm is over all joints.
    """
    offset = state.joint_pos - state.default_pose
    sideways = offset[:, state.joint_ids(joints)].norm(dim=1)
    return torch.exp(-100.0 * (sideways - 0.1).clamp(0.0, 50.0)) - 0.01 * offset.norm(dim=1)


def feet_distance(state: State, low: float, high: float) -> Tensor:
    """Score of the planar distance of the feet [m]: 1 within ``[low, high]``, falling outside."""
    between = state.foot_pos[:, 0, :2] - state.foot_pos[:, 1, :2]
    distance = between.norm(dim=1)
    near = (low - distance).clamp(0.0, 0.5)
    far = (distance - high).clamp(0.0, 0.5)
    return 0.5 * (torch.exp(-100.0 * near) + torch.exp(-100.0 * far))


def base_height_exp(state: State, target: float, sharpness: float) -> Tensor:
    """``exp(-sharpness |z - target|)`` of the base height [m]."""
    return torch.exp(-sharpness * (state.base_height - target).abs())


def vertical_calm(state: State) -> Tensor:
    """Mean of ``exp(-10 v_z^2)`` and ``exp(-5 |w_xy|)`` of the base [m/s], [rad/s]."""
    vertical = torch.exp(-10.0 * state.base_lin_vel_world[:, 2].square())
    return 0.5 * (vertical + torch.exp(-5.0 * state.base_ang_vel[:, :2].norm(dim=1)))


def contact_force_above(state: State, limit: float, most: float) -> Tensor:
    """Ground reaction beyond ``limit`` [N], at most ``most`` [N] a foot, summed over feet."""
    return (state.foot_force - limit).clamp(0.0, most).sum(dim=1)


def yaw_rate_square(state: State) -> Tensor:
    """Squared yaw rate of the base [rad^2/s^2], where no turning is asked for."""
    return state.yaw_rate.square()


def planar_velocity_square(state: State) -> Tensor:
    """Squared planar velocity of the base [m^2/s^2], where no walking is asked for."""
    return state.base_lin_vel_world[:, :2].square().sum(dim=1)
