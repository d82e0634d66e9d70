"""Commands of the H1's skills besides walking: wrists, height of the base, one foot.

Each turns the numbers that were drawn into a target, so that whoever sends the numbers (an
experiment, a high-level policy) and whoever is rewarded for them mean the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import torch
from torch import Tensor

from stridelab_envs.mdp.commands import Command, Ranges
from stridelab_envs.mdp.math import from_heading, to_heading

if TYPE_CHECKING:
    from stridelab_envs.mdp.state import State


class WristCommand(Command):
    """Offsets of both wrists [m] from where they are when the robot stands: left xyz, right xyz.

    The frame has the base's heading and its origin on the ground under the base, so a target stays
    at its height when the robot squats.

    Args:
        state: The robots that are commanded.
        ranges: Six columns as of :class:`Command`, left x, y, z, right x, y, z; in [m].
        resampling_time: As of :class:`Command`.
        shoulders: Bodies at the centres of the shoulders, left before right.
        reach: Length of an arm [m]; a target is reachable when it is no farther from the shoulder
            of the standing robot.
    """

    def __init__(
        self,
        state: State,
        *,
        ranges: Ranges,
        resampling_time: Sequence[float],
        shoulders: Sequence[str],
        reach: float,
    ) -> None:
        super().__init__(state, ranges=ranges, resampling_time=resampling_time)
        data = _standing(state)
        model, base = state.sim.model, state.robot.base_body
        origin = torch.tensor(data.body(base).xpos) * torch.tensor([1.0, 1.0, 0.0])
        wrists = torch.tensor([data.site(site).xpos.tolist() for site in state.robot.wrists])
        centres = torch.tensor([data.xpos[model.body(name).id].tolist() for name in shoulders])
        self.default = (wrists - origin).float()
        """Wrists of the standing robot in the frame of the command [m], ``(2, 3)``."""
        self._shoulders = (centres - origin).float()
        self._reach = reach

    def target(self) -> Tensor:
        """Return the targets in the frame of the command [m], ``(num_envs, 2, 3)``."""
        return self.default + self.value.unflatten(1, (2, 3))

    def error(self, state: State) -> Tensor:
        """Return wrists minus targets in the frame of the command [m], ``(num_envs, 2, 3)``."""
        return state.in_base_heading(state.wrist_pos) - self.target()

    def reachable(self) -> Tensor:
        """Say for each wrist whether its target lies within reach, ``(num_envs, 2)`` bool."""
        return (self.target() - self._shoulders).norm(dim=-1) <= self._reach


class HeightCommand(Command):
    """Height of the base's origin above the ground [m]: one column, ``height``."""

    def error(self, state: State) -> Tensor:
        """Return height minus command [m], ``(num_envs, 1)``."""
        return state.base_height.unsqueeze(1) - self.value

    def knee(self, leg: float, above: float) -> Tensor:
        """Return the knee angle [rad] at which an upright robot has the height, ``(num_envs,)``.

        With thigh and shank of length ``leg`` [m] each and the hip above the ankle, the height is
        ``2 leg cos(knee / 2) + above``.
        """
        cosine = (self.value[:, 0] - above) / (2.0 * leg)
        return 2.0 * torch.acos(cosine.clamp(-1.0, 1.0))


class FootCommand(Command):
    """Move one foot by ``dx``, ``dy`` [m] in the heading frame; the other one stays where it is.

    ``foot`` chooses: negative the left one, else the right one. The anchor is where the feet are
    when the command is drawn. A target is moved to within ``spread_x`` and ``spread_y`` of the foot
    that stays, where legs can reach without crossing.

    Args:
        state: The robots that are commanded.
        ranges: ``dx``, ``dy`` in [m] and ``foot``.
        resampling_time: As of :class:`Command`.
        spread_x: Largest distance [m] of the feet along the heading.
        spread_y: Least and largest distance [m] of the feet across the heading.
    """

    def __init__(
        self,
        state: State,
        *,
        ranges: Ranges,
        resampling_time: Sequence[float],
        spread_x: float,
        spread_y: Sequence[float],
    ) -> None:
        super().__init__(state, ranges=ranges, resampling_time=resampling_time)
        self._spread_x = spread_x
        self._spread_y = (float(spread_y[0]), float(spread_y[1]))
        self.targets = torch.zeros(state.num_envs, 2, 3)
        """Where the feet are to be [m], world frame, ``(num_envs, 2, 3)``; z is not used."""
        self.moving = torch.zeros(state.num_envs, dtype=torch.long)
        """Index of the foot that is to move."""
        self.age = torch.zeros(state.num_envs)
        """Time since the command was drawn [s]."""

    def tick(self, state: State) -> None:
        """Take in the step just made."""
        super().tick(state)
        self.age += state.dt

    def draw(self, state: State, ids: Tensor) -> None:
        """Draw new commands and anchor them at the feet's places."""
        super().draw(state, ids)
        self.age[ids] = 0.0
        self.moving[ids] = (self.value[ids, self.names.index("foot")] >= 0.0).long()
        feet, yaw = state.foot_pos[ids], state.base_heading[ids]
        self.targets[ids] = self.place(feet, yaw, self.value[ids])

    def place(self, feet: Tensor, yaw: Tensor, value: Tensor) -> Tensor:
        """Return the targets for anchors ``feet (k, 2, 3)``, headings and commands."""
        right = value[:, self.names.index("foot")] >= 0.0
        rows = torch.arange(feet.shape[0])
        moving = right.long()
        # From the foot that stays to the one that moves, left of it positive in the heading frame.
        stays = feet[rows, 1 - moving]
        between = to_heading(yaw, feet[rows, moving] - stays)
        side = torch.where(right, -1.0, 1.0)
        x = (between[:, 0] + value[:, 0]).clamp(-self._spread_x, self._spread_x)
        y = ((between[:, 1] + value[:, 1]) * side).clamp(*self._spread_y) * side
        goal = stays + from_heading(yaw, torch.stack([x, y, torch.zeros_like(x)], dim=1))
        targets = feet.clone()
        targets[rows, moving] = goal
        return targets

    def error(self, state: State) -> Tensor:
        """Return feet minus targets in the heading frame [m], ``(num_envs, 2, 2)``."""
        offset = to_heading(state.base_heading.unsqueeze(1), state.foot_pos - self.targets)
        return offset[..., :2]


def _standing(state: State) -> mujoco.MjData:
    """Return the robot standing in its default pose, with kinematics."""
    model = state.sim.model
    data = mujoco.MjData(model)
    data.qpos[state.base_slices[0].start + 2] = state.robot.home_height
    data.qpos[state.joint_slices[0]] = state.robot.default_pose
    mujoco.mj_kinematics(model, data)
    return data
