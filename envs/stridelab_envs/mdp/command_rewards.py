"""Rewards and metrics for following a command; each returns ``(num_envs,)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import VelocityCommand, expect
from stridelab_envs.mdp.skills import FootCommand, HeightCommand, WristCommand
from stridelab_envs.mdp.state import State


def tracking_lin_vel(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e^2)``, e = distance [m/s] of mean and commanded planar velocity."""
    velocity = expect(state.commands[command], VelocityCommand)
    error = (velocity.mean_velocity - velocity.value)[:, :2]
    return torch.exp(-sharpness * error.square().sum(dim=1))


def tracking_ang_vel(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e^2)``, e = mean minus commanded yaw rate [rad/s]."""
    velocity = expect(state.commands[command], VelocityCommand)
    error = (velocity.mean_velocity - velocity.value)[:, 2]
    return torch.exp(-sharpness * error.square())


def lin_vel_error(state: State, command: str) -> Tensor:
    """Mean absolute error of the planar velocity over a window [m/s]; NaN within one."""
    error = expect(state.commands[command], VelocityCommand).error
    return error[:, :2].abs().mean(dim=1)


def yaw_rate_error(state: State, command: str) -> Tensor:
    """Absolute error of the yaw rate over a window [rad/s]; NaN within one."""
    return expect(state.commands[command], VelocityCommand).error[:, 2].abs()


def curriculum(state: State, command: str) -> Tensor:
    """How far the velocity command's ranges have widened, from 0 to 1."""
    velocity = expect(state.commands[command], VelocityCommand)
    return torch.full((state.num_envs,), velocity.progress)


def max_command_x(state: State, command: str) -> Tensor:
    """Greatest forward velocity that may be commanded at present [m/s]."""
    return expect(state.commands[command], VelocityCommand).high[0].expand(state.num_envs)


def wrists(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e)``, e = mean absolute error of both wrists [m]."""
    error = expect(state.commands[command], WristCommand).error(state)
    return torch.exp(-sharpness * error.abs().mean(dim=(1, 2)))


def wrist_error(state: State, command: str, reachable_only: bool) -> Tensor:
    """Mean absolute error of the wrists [m] when a command expires, else NaN."""
    wrist = expect(state.commands[command], WristCommand)
    error = wrist.error(state).abs().mean(dim=2)
    counted = wrist.reachable() if reachable_only else torch.ones_like(error, dtype=torch.bool)
    mean = (error * counted).sum(dim=1) / counted.sum(dim=1)  # NaN where none is counted
    return mean.masked_fill(~wrist.expiring, math.nan)


def height(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e)``, e = absolute error of the base height [m]."""
    error = expect(state.commands[command], HeightCommand).error(state)
    return torch.exp(-sharpness * error.abs().squeeze(1))


def height_error(state: State, command: str) -> Tensor:
    """Absolute error of the base height [m] when a command expires, else NaN."""
    height_command = expect(state.commands[command], HeightCommand)
    error = height_command.error(state).abs().squeeze(1)
    return error.masked_fill(~height_command.expiring, math.nan)


def squat_reference(
    state: State,
    command: str,
    joints: tuple[tuple[str, str, str], ...],
    leg: float,
    above: float,
    least_ankle: float,
    sharpness: float,
) -> Tensor:
    """``exp(-sharpness d)``, d = distance [rad] of the legs from a squat of the height.

    In that squat the hip lies above the ankle: hip pitch and ankle are minus half the knee angle.
    Where the ankle cannot bend that far (``least_ankle`` [rad]), the hip makes up for it.

    Args:
        state: The robots.
        command: Name of the height command.
        joints: Hip pitch, knee and ankle, of the left leg, then of the right one.
        leg: Length of the thigh and of the shank [m].
        above: Height [m] of the base with straight legs, less the legs.
        least_ankle: Limit of the ankle [rad].
        sharpness: Of the kernel [1/rad].
    """
    knee = expect(state.commands[command], HeightCommand).knee(leg, above)
    ankle = (-0.5 * knee).clamp(min=least_ankle)
    pose = torch.stack([-knee - ankle, knee, ankle], dim=1)
    squares = torch.zeros_like(knee)
    for names in joints:
        squares += (state.joint_pos[:, state.joint_ids(names)] - pose).square().sum(dim=1)
    return torch.exp(-sharpness * squares.sqrt())


def step_schedule(state: State, command: str, lift: float, land: float) -> Tensor:
    """Mean over feet of +1 where contact is as a step wants it, else -0.3.

    The foot that is to move is to be in the air from ``lift`` to ``land`` [s] after the command was
    drawn; at all other times both feet are to stand.
    """
    foot = expect(state.commands[command], FootCommand)
    swinging = (foot.age >= lift) & (foot.age < land)
    meant = torch.ones_like(state.feet.contact)
    meant[torch.arange(state.num_envs), foot.moving] = ~swinging
    return ((state.feet.contact == meant) * 1.3 - 0.3).mean(dim=1)


def feet(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e)``, e = mean absolute planar error of both feet [m]."""
    error = expect(state.commands[command], FootCommand).error(state)
    return torch.exp(-sharpness * error.abs().mean(dim=(1, 2)))


def moving_foot(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e)``, e = planar distance [m] of the moving foot from its target."""
    foot = expect(state.commands[command], FootCommand)
    distance = foot.error(state).norm(dim=2)
    return torch.exp(-sharpness * distance[torch.arange(state.num_envs), foot.moving])


def foot_error(state: State, command: str, moving_only: bool) -> Tensor:
    """Mean absolute planar error of the feet [m] when a command expires, else NaN.

    Args:
        state: The robots.
        command: Name of the foot command.
        moving_only: Count the foot that was to move alone, not the one that was to stay.
    """
    foot = expect(state.commands[command], FootCommand)
    error = foot.error(state).abs().mean(dim=2)
    rows = torch.arange(state.num_envs)
    error = error[rows, foot.moving] if moving_only else error.mean(dim=1)
    return error.masked_fill(~foot.expiring, math.nan)
