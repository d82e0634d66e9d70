"""Rewards for posture, contacts, effort and limits; each returns ``(num_envs,)``.

Formulas are those of the published training code of the X1 (agibot_x1_train).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp.math import roll_pitch_yaw
from stridelab_envs.mdp.state import State


def vel_mismatch_exp(state: State) -> Tensor:
    """Mean of ``exp(-10 v_z^2)`` and ``exp(-5 |w_xy|)`` of the base [m/s], [rad/s], its frame."""
    vertical = torch.exp(-10.0 * state.base_lin_vel[:, 2].square())
    return 0.5 * (vertical + torch.exp(-5.0 * state.base_ang_vel[:, :2].norm(dim=1)))


def base_acc(state: State) -> Tensor:
    """``exp(-3 |d|)``, d = change of the base's six velocities over the step [m/s], [rad/s]."""
    return torch.exp(-3.0 * (state.base_vel - state.last_base_vel).norm(dim=1))


def default_joint_pos(state: State, left: tuple[str, ...], right: tuple[str, ...]) -> Tensor:
    """``exp(-100 y) - 0.01 |q - q0|``, y = what goes beyond 0.1 rad of ``left`` and ``right``.

    Of those joints the offsets' norms, left and right, are added; the second norm is over all.
    """
    offset = state.joint_pos - state.default_pose
    sideways = sum(
        (offset[:, state.joint_ids(side)].norm(dim=1) for side in (left, right)),
        start=torch.zeros(state.num_envs),
    )
    return torch.exp(-100.0 * (sideways - 0.1).clamp(0.0, 50.0)) - 0.01 * offset.norm(dim=1)


def bodies_distance(state: State, bodies: tuple[str, str], low: float, high: float) -> Tensor:
    """Score of the planar distance of two bodies [m]: 1 within ``[low, high]``, falling outside."""
    position = state.body_pos(bodies)[..., :2]
    distance = (position[:, 0] - position[:, 1]).norm(dim=1)
    near = (low - distance).clamp(0.0, 0.5)
    far = (distance - high).clamp(0.0, 0.5)
    return 0.5 * (torch.exp(-100.0 * near) + torch.exp(-100.0 * far))


def feet_rotation(state: State) -> Tensor:
    """``exp(-15 s)``, s = squared roll and pitch of the soles [rad^2], summed over feet."""
    quat = state.foot_quat
    angles = roll_pitch_yaw(quat.flatten(0, 1))[:, :2].square().sum(dim=1)
    return torch.exp(-15.0 * angles.view(quat.shape[:2]).sum(dim=1))


def foot_slip(state: State) -> Tensor:
    """Square root of the horizontal speed [m/s] of feet that touch the ground, summed over feet."""
    speed = state.foot_vel[..., :2].norm(dim=-1)
    return (speed.sqrt() * state.feet.contact).sum(dim=1)


def feet_contact_forces(state: State, limit: float, most: float) -> Tensor:
    """Size of the ground reaction beyond ``limit`` [N], ``most`` [N] a foot, summed over feet."""
    forces = [state.contact_force(foot).norm(dim=1) for foot in state.robot.feet]
    return (torch.stack(forces, dim=1) - limit).clamp(0.0, most).sum(dim=1)


def collision(state: State, bodies: tuple[str, ...], force: float) -> Tensor:
    """Number of ``bodies`` on which the ground exerts more than ``force`` [N]."""
    return sum(
        ((state.contact_force(body).norm(dim=1) > force).float() for body in bodies),
        start=torch.zeros(state.num_envs),
    )


def action_smoothness(state: State) -> Tensor:
    """Squared first and second differences of the action and 0.05 of its size, over joints."""
    change = state.action - state.last_action
    turn = change - (state.last_action - state.last_last_action)
    effort = 0.05 * state.action.abs()
    return (change.square() + turn.square() + effort).sum(dim=1)


def dof_pos_limits(state: State, share: float) -> Tensor:
    """How far joints are beyond ``share`` of their range about its middle [rad], summed."""
    low, high = state.joint_range.unbind(dim=1)
    middle, half = 0.5 * (low + high), 0.5 * share * (high - low)
    return ((state.joint_pos - middle).abs() - half).clamp(min=0.0).sum(dim=1)


def dof_vel_limits(state: State, share: float) -> Tensor:
    """Joint speed beyond ``share`` of its limit [rad/s], 1 a joint at most, summed."""
    limit = share * state.joint_vel_limit
    return (state.joint_vel.abs() - limit).clamp(0.0, 1.0).sum(dim=1)


def dof_torque_limits(state: State, share: float) -> Tensor:
    """Actuator torque beyond ``share`` of its limit [N m], summed over joints."""
    limit = share * state.joint_torque_limit
    return (state.joint_torque.abs() - limit).clamp(min=0.0).sum(dim=1)
