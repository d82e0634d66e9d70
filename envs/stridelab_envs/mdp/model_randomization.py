"""Random changes of the robot itself: masses, motors, joints, contacts, and pushes that last.

Each is ``func(state, ids, **params)`` with ``ids (k,)``; what it writes starts from the model's
own values, so that nothing adds up from episode to episode.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stridelab_envs.mdp.state import State


def friction_with_ground(state: State, ids: Tensor, low: float, high: float, ground: float) -> None:
    """Draw the robot's sliding friction in ``[low, high]``; what counts is the mean with ground's.

    MuJoCo lets the greater of two geoms' frictions count, hence every geom gets the mean.
    """
    values = state.sim.model_field("geom_friction")
    values[ids, :, 0] = 0.5 * (_uniform(state, ids, 1, low, high) + ground)


def restitution(state: State, ids: Tensor, low: float, high: float, ground: float) -> None:
    """Draw how much speed the robot keeps in a bounce; what counts is the mean with the ground's.

    A contact is a damped spring that cannot pull: the damping is set so that it gives back what was
    drawn, the stiffness stays the model's. Contacts are never damped more than the model's own,
    which have damping ratio 1 as a rule and give back 0.135.
    """
    mean = 0.5 * (_uniform(state, ids, 1, low, high) + ground)
    nominal = torch.tensor(state.sim.model.geom_solref)
    ratio = torch.minimum(damping_ratio(mean), nominal[:, 1])
    values = state.sim.model_field("geom_solref")
    # The spring's frequency is 1 / (time constant * ratio).
    values[ids, :, 0] = nominal[:, 0] * nominal[:, 1] / ratio
    values[ids, :, 1] = ratio


def damping_ratio(restitution: Tensor) -> Tensor:
    """Damping ratio z, at most 1, of a contact that gives back ``restitution`` of the speed.

    A damped spring lets go when its force has fallen to zero, with ``exp(-2 z t / sin(t))`` of the
    speed, ``cos(t) = z`` (Schwager and Poschel 2007, doi:10.1007/s10035-007-0065-z).
    """
    ratio = np.linspace(0.0, 1.0 - 1e-9, 1000)
    angle = np.arccos(ratio)
    kept = np.exp(-2.0 * ratio * angle / np.sin(angle))
    return torch.from_numpy(np.interp(restitution.numpy(), kept[::-1], ratio[::-1]))


def link_masses(state: State, ids: Tensor, low: float, high: float) -> None:
    """Scale mass and inertia of each link but the base by a factor in ``[low, high]``."""
    model = state.sim.model
    base = model.body(state.robot.base_body).id
    links = [i for i in range(1, model.nbody) if i != base and model.body_rootid[i] == base]
    factor = _uniform(state, ids, len(links), low, high)
    mass, inertia = state.sim.model_field("body_mass"), state.sim.model_field("body_inertia")
    rows = ids.unsqueeze(1)
    mass[rows, links] = factor * torch.tensor(model.body_mass[links])
    inertia[rows, links] = factor.unsqueeze(2) * torch.tensor(model.body_inertia[links])
    state.sim.set_const(ids)


def centre_of_mass(state: State, ids: Tensor, body: str, half_width: float) -> None:
    """Move the centre of mass of ``body`` within ``half_width`` [m] along each axis."""
    number = state.sim.model.body(body).id
    shift = _uniform(state, ids, 3, -half_width, half_width)
    nominal = torch.tensor(state.sim.model.body_ipos[number])
    state.sim.model_field("body_ipos")[ids, number] = nominal + shift
    state.sim.set_const(ids)


def gains(state: State, ids: Tensor, stiffness: Sequence[float], damping: Sequence[float]) -> None:
    """Draw each joint's position and velocity gain as a factor of the model's."""
    joints = state.robot.num_joints
    state.actuators.stiffness[ids] = _uniform(state, ids, joints, *stiffness)
    state.actuators.damping[ids] = _uniform(state, ids, joints, *damping)
    state.actuators.apply(ids)


def motor_strength(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw each joint's torque as a factor of the torque asked for, before it is clipped."""
    state.actuators.strength[ids] = _uniform(state, ids, state.robot.num_joints, low, high)
    state.actuators.apply(ids)


def motor_offset(state: State, ids: Tensor, half_width: float) -> None:
    """Draw an error of each joint's target angle within ``half_width`` [rad]."""
    joints = state.robot.num_joints
    state.actuators.offset[ids] = _uniform(state, ids, joints, -half_width, half_width)
    state.actuators.apply(ids)


def joint_friction(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw each joint's dry friction [N m]."""
    _per_joint(state, ids, "dof_frictionloss", low, high)


def joint_damping(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw each joint's viscous friction [N m s/rad]."""
    _per_joint(state, ids, "dof_damping", low, high)


def armature(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw one rotor inertia [kg m^2], seen at the joint, for all joints of a robot."""
    state.sim.model_field("dof_armature")[ids, state.joint_slices[1]] = _uniform(
        state, ids, 1, low, high
    )
    state.sim.set_const(ids)


def action_lag(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw how late targets reach the motors [s], a whole number of milliseconds."""
    state.lags.set_action(ids, _milliseconds(state, ids, low, high))


def observation_lag(state: State, ids: Tensor, low: float, high: float) -> None:
    """Draw how late sensors tell of the joints [s], a whole number of milliseconds."""
    state.lags.set_observation(ids, _milliseconds(state, ids, low, high))


def base_drop(state: State, ids: Tensor, height: float) -> None:
    """Start the episode ``height`` [m] above where the robot would stand."""
    state.sim.qpos[ids, state.base_slices[0].start + 2] += height


def growing_push(
    state: State,
    ids: Tensor,
    linear: float,
    angular: float,
    duration: Sequence[float],
    growth: float,
    level_steps: float,
    curriculum: bool,
) -> None:
    """Begin a push, as of :class:`Push`, that lasts one control step and ``duration`` [s] more.

    Training begins with the shortest duration and grows by ``growth`` [s] after every
    ``level_steps`` control steps up to the longest; without ``curriculum`` every push is as long.
    """
    shortest, longest = duration
    grown = shortest + growth * (state.push.steps // level_steps)
    seconds = min(longest, grown) if curriculum else longest
    steps = 1 + round(seconds / state.dt)
    state.push.begin(ids, steps=steps, linear=linear, angular=angular)


def _milliseconds(state: State, ids: Tensor, low: float, high: float) -> Tensor:
    """Return times in ``[low, high]`` [s] of whole milliseconds, each as likely, ``(k,)``."""
    first, last = round(1000 * low), round(1000 * high)
    draw = torch.randint(first, last + 1, (ids.numel(),), generator=state.generator)
    return draw.double() / 1000.0


def _per_joint(state: State, ids: Tensor, field: str, low: float, high: float) -> None:
    columns = state.joint_slices[1]
    draw = _uniform(state, ids, state.robot.num_joints, low, high)
    state.sim.model_field(field)[ids, columns] = draw


def _uniform(state: State, ids: Tensor, width: int, low: float, high: float) -> Tensor:
    """Return uniform numbers in ``[low, high]``, ``(k, width)``, in double precision."""
    draw = torch.rand(ids.numel(), width, generator=state.generator, dtype=torch.float64)
    return low + (high - low) * draw
