"""Rewards that follow a :class:`GaitCommand`: its velocity, its clock and its pauses.

Each takes the command's name and returns ``(num_envs,)``. Formulas and numbers are those of the
published training code of the X1 (agibot_x1_train); velocities are the base's, in its own frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import expect
from stridelab_envs.mdp.gait_command import GaitCommand
from stridelab_envs.mdp.state import State


def tracking_lin_vel(state: State, command: str) -> Tensor:
    """Score of the planar velocity, see :meth:`GaitCommand.lin_vel_score`."""
    return expect(state.commands[command], GaitCommand).lin_vel_score(state)


def tracking_ang_vel(state: State, command: str, walking: float, standing: float) -> Tensor:
    """``exp(-walking e^2)``, or ``exp(-standing |e|)`` where it stands; e = error [rad/s]."""
    gait = expect(state.commands[command], GaitCommand)
    error = gait.value[:, 2] - state.base_ang_vel[:, 2]
    return torch.where(
        gait.standing, torch.exp(-standing * error.abs()), torch.exp(-walking * error.square())
    )


def track_vel_hard(state: State, command: str) -> Tensor:
    """Mean of ``exp(-10 e)`` of the planar [m/s] and yaw [rad/s] errors, less 0.2 of their sum."""
    value = expect(state.commands[command], GaitCommand).value
    linear = (value[:, :2] - state.base_lin_vel[:, :2]).norm(dim=1)
    angular = (value[:, 2] - state.base_ang_vel[:, 2]).abs()
    near = 0.5 * (torch.exp(-10.0 * linear) + torch.exp(-10.0 * angular))
    return near - 0.2 * (linear + angular)


def low_speed(state: State, command: str) -> Tensor:
    """Score of the forward speed against the commanded one; 0 where that is at most 0.05 m/s.

    The wrong way scores -2, slower than half -1, faster than 1.2 times 0, and what is between 1.2.
    """
    wanted = expect(state.commands[command], GaitCommand).value[:, 0]
    speed = state.base_lin_vel[:, 0]
    score = torch.full_like(speed, 1.2)
    score[speed.abs() > 1.2 * wanted.abs()] = 0.0
    score[speed.abs() < 0.5 * wanted.abs()] = -1.0
    score[speed.sign() != wanted.sign()] = -2.0
    return score * (wanted.abs() > 0.05)


def reference_pose(state: State, command: str, swing: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return the pose the clock wants [rad], ``(num_envs, num_joints)``.

    The default pose, and for the leg that swings its row of ``swing`` times the size of the sine.

    Args:
        state: The robots.
        command: Name of the command with the clock.
        swing: Offsets [rad] of all joints in the middle of a left and of a right swing.
    """
    gait = expect(state.commands[command], GaitCommand)
    offsets = gait.sine.new_tensor(swing)
    height = gait.sine.abs().unsqueeze(1) * ~gait.stance  # 0 for a foot that is to stand
    return state.default_pose + height @ offsets


def ref_joint_pos(state: State, command: str, swing: tuple[tuple[float, ...], ...]) -> Tensor:
    """``exp(-2 d) - 0.2 min(d, 0.5)`` of the distance d [rad] from the reference pose.

    It is 1 where the robot is to stand.
    """
    distance = (state.joint_pos - reference_pose(state, command, swing)).norm(dim=1)
    score = torch.exp(-2.0 * distance) - 0.2 * distance.clamp(max=0.5)
    return score.masked_fill(expect(state.commands[command], GaitCommand).standing, 1.0)


def feet_contact_number(state: State, command: str) -> Tensor:
    """Mean over feet of +1 where contact is as the clock wants it, else -0.3."""
    right = state.feet.contact == expect(state.commands[command], GaitCommand).stance
    return (right * 1.3 - 0.3).mean(dim=1)


def swing_load(state: State, command: str) -> Tensor:
    """Share of the feet's load that rests on a foot the clock wants in the air, from 0 to 1.

    Unlike contact, which is there or not, it leads to shifting the weight. After the swing-phase
    force cost of Siekmann et al. 2021, "Sim-to-real learning of all common bipedal gaits".
    """
    # A foot that is swung reads less than nothing: the sensor feels its inertia.
    force = state.foot_force.clamp(min=0.0)
    swing = ~expect(state.commands[command], GaitCommand).stance
    return (force * swing).sum(dim=1) / force.sum(dim=1).clamp(min=1.0)


def feet_clearance(state: State, command: str, low: float, high: float) -> Tensor:
    """Number of feet meant to swing that have been lifted by more than ``low``, less than ``high``.

    In [m], from where the foot last touched the ground.
    """
    swing = ~expect(state.commands[command], GaitCommand).stance
    lifted = (state.foot_lift > low) & (state.foot_lift < high)
    return (lifted & swing).sum(dim=1).float()


def feet_air_time(state: State, command: str) -> Tensor:
    """Sum over feet of the flights that ended in this step, 0.5 s at most each [s]."""
    return expect(state.commands[command], GaitCommand).flight.sum(dim=1)


def base_height(
    state: State, command: str, target: float, ankle: float, sharpness: float
) -> Tensor:
    """``exp(-sharpness |h - target|)``, h = height of the base above the standing feet's soles [m].

    ``ankle`` is the height of a foot's frame above its sole [m]; the feet are those the clock wants
    on the ground.
    """
    stance = expect(state.commands[command], GaitCommand).stance.float()
    ground = (state.foot_pos[..., 2] * stance).sum(dim=1) / stance.sum(dim=1) - ankle
    height = state.base_pos[:, 2] - ground
    return torch.exp(-sharpness * (height - target).abs())


def stand_still(state: State, command: str) -> Tensor:
    """``exp(-d^2)``, d = distance from the default pose [rad]; 0 where the robot is to walk."""
    distance = (state.joint_pos - state.default_pose).square().sum(dim=1)
    return torch.exp(-distance) * expect(state.commands[command], GaitCommand).standing
