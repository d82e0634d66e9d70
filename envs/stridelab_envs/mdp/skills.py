"""Commands of the H1's skills besides walking: wrists, height of the base, one foot.

Each turns the numbers that were drawn into a target. The functions below the classes do so without
an environment, so that whoever sends the numbers (an experiment, a high-level policy) and whoever
is rewarded for them mean the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mujoco
import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.commands import Command, Ranges
from stridelab_envs.mdp.math import from_heading, to_heading

if TYPE_CHECKING:
    from stridelab_envs.mdp.state import State
    from stridelab_envs.robots.spec import RobotSpec


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
        model = state.sim.model
        self.default = standing_wrists(model, state.robot)
        """Wrists of the standing robot in the frame of the command [m], ``(2, 3)``."""
        data = _standing(model, state.robot)
        self._shoulders = torch.tensor(
            [data.body(name).xpos.tolist() for name in shoulders], dtype=torch.float32
        )
        self._reach = reach

    def target(self) -> Tensor:
        """Return the targets in the frame of the command [m], ``(num_envs, 2, 3)``."""
        return self.default + self.value.unflatten(1, (2, 3))

    def error(self, state: State) -> Tensor:
        """Return wrists minus targets in the frame of the command [m], ``(num_envs, 2, 3)``."""
        wrists = state.in_base_heading(state.wrist_pos)
        return wrist_error(wrists, self.default, self.value)

    def reachable(self) -> Tensor:
        """Say for each wrist whether its target lies within reach, ``(num_envs, 2)`` bool."""
        return (self.target() - self._shoulders).norm(dim=-1) <= self._reach


class HeightCommand(Command):
    """Height of the base's origin above the ground [m]: one column, ``height``."""

    def error(self, state: State) -> Tensor:
        """Return height minus command [m], ``(num_envs, 1)``."""
        return height_error(state.base_height.unsqueeze(1), self.value)

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

    COLUMNS = ("dx", "dy", "foot")

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
        if self.names != self.COLUMNS:
            raise ConfigError("ranges", f"must name {', '.join(self.COLUMNS)} in this order")
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
        return foot_targets(feet, yaw, value, self._spread_x, self._spread_y)

    def error(self, state: State) -> Tensor:
        """Return feet minus targets in the heading frame [m], ``(num_envs, 2, 2)``."""
        return foot_error(state.foot_pos, self.targets, state.base_heading)


def wrist_error(wrists: Tensor, default: Tensor, value: Tensor) -> Tensor:
    """Return wrists minus targets [m], ``(n, 2, 3)``.

    Args:
        wrists: Wrists in the frame of :class:`WristCommand` [m], ``(n, 2, 3)``.
        default: Those of the standing robot, ``(2, 3)``; see :func:`standing_wrists`.
        value: Commands, ``(n, 6)``.
    """
    return wrists - (default + value.unflatten(1, (2, 3)))


def height_error(height: Tensor, value: Tensor) -> Tensor:
    """Return the base's ``height (n, 1)`` minus commands ``value (n, 1)`` [m], ``(n, 1)``."""
    return height - value


def foot_targets(
    feet: Tensor, yaw: Tensor, value: Tensor, spread_x: float, spread_y: Sequence[float]
) -> Tensor:
    """Return where the feet are to be [m], world frame, ``(n, 2, 3)``; z is not used.

    Args:
        feet: Where they are when the command is given [m], world frame, ``(n, 2, 3)``.
        yaw: Heading of the base then [rad], ``(n,)``.
        value: Commands ``dx``, ``dy``, ``foot``, ``(n, 3)``; as of :class:`FootCommand`.
        spread_x: As of :class:`FootCommand`.
        spread_y: Likewise.
    """
    right = value[:, 2] >= 0.0
    rows = torch.arange(feet.shape[0], device=feet.device)
    moving = right.long()
    # From the foot that stays to the one that moves, left of it positive in the heading frame.
    stays = feet[rows, 1 - moving]
    between = to_heading(yaw, feet[rows, moving] - stays)
    side = torch.where(right, -1.0, 1.0)
    x = (between[:, 0] + value[:, 0]).clamp(-spread_x, spread_x)
    y = ((between[:, 1] + value[:, 1]) * side).clamp(*spread_y) * side
    goal = stays + from_heading(yaw, torch.stack([x, y, torch.zeros_like(x)], dim=1))
    targets = feet.clone()
    targets[rows, moving] = goal
    return targets


def foot_error(feet: Tensor, targets: Tensor, yaw: Tensor) -> Tensor:
    """Return feet minus targets ``(n, 2, 3)`` in the frame of heading ``yaw (n,)``, ``(n, 2, 2)``.

    Planar, in [m].
    """
    return to_heading(yaw.unsqueeze(1), feet - targets)[..., :2]


def standing_wrists(model: mujoco.MjModel, robot: RobotSpec) -> Tensor:
    """Return the wrists of the standing robot in the frame of :class:`WristCommand` [m], (2, 3)."""
    data = _standing(model, robot)
    wrists = [data.site(site).xpos.tolist() for site in robot.wrists]
    return torch.tensor(wrists, dtype=torch.float32)


def _standing(model: mujoco.MjModel, robot: RobotSpec) -> mujoco.MjData:
    """Return the robot standing at the world's origin in its default pose, with kinematics."""
    data = mujoco.MjData(model)
    base = int(model.jnt_qposadr[model.body(robot.base_body).jntadr[0]])
    data.qpos[base : base + 7] = (0.0, 0.0, robot.home_height, 1.0, 0.0, 0.0, 0.0)
    for joint, angle in zip(robot.joints, robot.default_pose, strict=True):
        data.joint(joint).qpos = angle
    mujoco.mj_kinematics(model, data)
    return data
