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


def feet(state: State, command: str, sharpness: float) -> Tensor:
    """``exp(-sharpness e)``, e = mean absolute planar error of both feet [m]."""
    error = expect(state.commands[command], FootCommand).error(state)
    return torch.exp(-sharpness * error.abs().mean(dim=(1, 2)))


def foot_error(state: State, command: str) -> Tensor:
    """Mean absolute planar error of both feet [m] when a command expires, else NaN."""
    foot = expect(state.commands[command], FootCommand)
    error = foot.error(state).abs().mean(dim=(1, 2))
    return error.masked_fill(~foot.expiring, math.nan)
