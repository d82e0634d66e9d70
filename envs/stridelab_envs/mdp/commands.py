"""Commands: what the policy is asked to do, drawn anew within an episode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError

if TYPE_CHECKING:  # the state holds the commands
    from stridelab_envs.mdp.state import State

Ranges = Mapping[str, Sequence[float]]
"""Column name to ``[low, high]``."""
FOREVER = (math.inf, math.inf)
"""Resampling time of a command that holds for a whole episode."""


class Command:
    """Numbers drawn uniformly from ``ranges``, held for a random time, then drawn again.

    An episode's first command is drawn when it starts. A command is in force for whole control
    steps; rewards and metrics of a step see the command under which it was made.

    Args:
        state: The robots that are commanded.
        ranges: Name to ``[low, high]``; their order is the order of the columns of :attr:`value`.
        resampling_time: Shortest and longest time [s] a command is held.
    """

    can_be_given = True
    """Whether :meth:`give` makes sense in the middle of an episode."""

    def __init__(self, state: State, *, ranges: Ranges, resampling_time: Sequence[float]) -> None:
        for name, bounds in {**ranges, "resampling_time": resampling_time}.items():
            if len(bounds) != 2 or not bounds[0] <= bounds[1]:
                raise ConfigError(name, f"must be [low, high], got {list(bounds)}")
        count = state.num_envs
        self.names = tuple(ranges)
        """Names of the columns of :attr:`value`."""
        self.low = torch.tensor([float(low) for low, _ in ranges.values()])
        self.high = torch.tensor([float(high) for _, high in ranges.values()])
        self.resampling_time = (float(resampling_time[0]), float(resampling_time[1]))
        self.value = torch.zeros(count, len(ranges))
        """Commands in force, ``(num_envs, len(names))``."""
        self.time_left = torch.zeros(count)
        """Time until the next draw [s], ``(num_envs,)``."""
        self.progress = 1.0
        """How far a curriculum has come, from the start (0) to the final ranges (1)."""
        self.given: Tensor | None = None
        """What every draw yields while somebody commands by hand, ``(len(names),)``."""
        self.generator = state.generator
        self._dt = state.dt

    def set_progress(self, progress: float) -> None:
        """Take over how far a curriculum had come elsewhere."""
        self.progress = progress

    @property
    def expiring(self) -> Tensor:
        """Whether the step just made was the command's last, ``(num_envs,)`` bool."""
        # Half a step, for what whole steps leave over in seconds is rounding.
        return self.time_left < 0.5 * self._dt

    def column(self, name: str) -> Tensor:
        """Return the values of column ``name``, ``(num_envs,)``."""
        return self.value[:, self.names.index(name)]

    def prepare(self, state: State, ids: Tensor) -> None:
        """Change the physics state in which episodes of environments ``ids (k,)`` start."""

    def tick(self, state: State) -> None:
        """Take in the step just made; rewards and metrics are computed next."""
        self.time_left -= state.dt

    def advance(self, state: State) -> None:
        """Draw a new command where the old one has expired; observations come next."""
        ids = self.expiring.nonzero().flatten()
        if ids.numel():
            self.draw(state, ids)

    def reset(self, state: State, ids: Tensor) -> None:
        """Draw the first command of a new episode in environments ``ids (k,)``."""
        self.draw(state, ids)

    def draw(self, state: State, ids: Tensor) -> None:
        """Draw new commands for environments ``ids (k,)``."""
        unit = torch.rand(ids.numel(), len(self.names) + 1, generator=self.generator)
        shortest, longest = self.resampling_time
        seconds = shortest + (longest - shortest) * unit[:, -1]
        # A whole number of control steps, so that every command has a last step.
        self.time_left[ids] = (seconds / state.dt).round().clamp(min=1.0) * state.dt
        self.value[ids] = self.sample(unit[:, :-1])

    def give(self, state: State, value: Tensor | None) -> None:
        """Command by hand: ``value (len(names),)`` everywhere from now on; None draws again."""
        self.given = None if value is None else value.clone()
        self.draw(state, torch.arange(state.num_envs))

    def sample(self, unit: Tensor) -> Tensor:
        """Return commands for uniform draws ``unit (k, len(names))`` in [0, 1)."""
        if self.given is not None:
            return self.given.expand_as(unit)
        return self.low + (self.high - self.low) * unit

    def get_state(self) -> dict[str, Any]:
        """Return what decides how the commands go on."""
        return {
            name: value.clone() if torch.is_tensor(value) else value
            for name, value in vars(self).items()
            if torch.is_tensor(value) or isinstance(value, float)
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`get_state` returned."""
        for name, value in state.items():
            setattr(self, name, value.clone() if torch.is_tensor(value) else value)


class ExternalCommand(Command):
    """Numbers that whoever drives the robot writes into :attr:`value`; zero in a new episode.

    Args:
        state: The robots that are driven.
        ranges: As of :class:`Command`; they name the columns.
    """

    can_be_given = False

    def __init__(self, state: State, *, ranges: Ranges) -> None:
        super().__init__(state, ranges=ranges, resampling_time=FOREVER)

    def draw(self, state: State, ids: Tensor) -> None:
        """Forget what environments ``ids (k,)`` were told."""
        self.value[ids] = 0.0
        self.time_left[ids] = math.inf


CommandT = TypeVar("CommandT", bound=Command)


def expect(command: Command, kind: type[CommandT]) -> CommandT:
    """Return ``command``, which a term needs to be of ``kind``.

    Raises:
        ConfigError: If it is of another kind.
    """
    if not isinstance(command, kind):
        raise ConfigError("commands", f"a {kind.__name__} is needed, not {type(command).__name__}")
    return command


class VelocityCommand(Command):
    """A velocity of the base in its heading frame: ``lin_vel_x``, ``lin_vel_y``, ``ang_vel_z``.

    It also follows the velocity reached: a walking pelvis swings, so what counts is the mean. The
    mean for rewards is exponential with time constant ``smoothing_time``; the errors reported are
    those of plain means over windows of ``window`` seconds.

    With ``curriculum`` the ranges begin narrow and widen to ``ranges``: by a fiftieth of the way
    for each window in which three fifths of the environments stay below ``widen_below``.

    Args:
        state: The robots that are commanded.
        ranges: As of :class:`Command`; in [m/s] and [rad/s].
        resampling_time: As of :class:`Command`.
        smoothing_time: Time constant of the mean used in rewards [s].
        window: Length of a window for errors [s].
        start_ranges: Ranges at the start of training.
        curriculum: Whether the ranges begin with ``start_ranges``.
        widen_below: Errors [m/s], [rad/s] below which the ranges widen.
    """

    COLUMNS = ("lin_vel_x", "lin_vel_y", "ang_vel_z")

    def __init__(
        self,
        state: State,
        *,
        ranges: Ranges,
        resampling_time: Sequence[float],
        smoothing_time: float = 0.2,
        window: float = 1.0,
        start_ranges: Ranges | None = None,
        curriculum: bool = False,
        widen_below: Sequence[float] = (0.25, 0.3),
    ) -> None:
        super().__init__(state, ranges=ranges, resampling_time=resampling_time)
        if self.names != self.COLUMNS:
            raise ConfigError("ranges", f"must name {', '.join(self.COLUMNS)} in this order")
        count = state.num_envs
        self._keep = math.exp(-state.dt / smoothing_time)
        self._window_steps = max(1, round(window / state.dt))
        self.mean_velocity = torch.zeros(count, 3)
        """Exponential mean of the velocity in the columns of :attr:`value`, ``(num_envs, 3)``."""
        self._sum = torch.zeros(count, 2, 3)  # of velocity, of command
        self._steps = torch.zeros(count)
        self.error = torch.full((count, 3), math.nan)
        """Velocity minus command over the window that this step closed; NaN in other steps."""
        self._final = torch.stack([self.low, self.high])
        start = start_ranges if curriculum and start_ranges else ranges
        bounds = torch.tensor([[float(start[name][i]) for name in self.names] for i in (0, 1)])
        self._start = bounds.clamp(self.low, self.high)  # whoever narrows the ranges means it
        self.progress = 0.0 if curriculum else 1.0
        self._widen_below = torch.tensor([widen_below[0], widen_below[0], widen_below[1]])
        self._set_ranges()

    def set_progress(self, progress: float) -> None:
        """Take over how far the ranges had widened elsewhere."""
        super().set_progress(progress)
        self._set_ranges()

    def _set_ranges(self) -> None:
        self.low, self.high = self._start + (self._final - self._start) * self.progress

    def tick(self, state: State) -> None:
        """Take in the velocity reached."""
        super().tick(state)
        velocity = torch.cat([state.base_lin_vel_heading[:, :2], state.yaw_rate[:, None]], dim=1)
        self.mean_velocity = velocity + (self.mean_velocity - velocity) * self._keep
        self._sum += torch.stack([velocity, self.value], dim=1)
        self._steps += 1.0
        closing = self._steps >= self._window_steps
        mean = self._sum / self._steps[:, None, None]
        self.error = (mean[:, 0] - mean[:, 1]).masked_fill(~closing[:, None], math.nan)
        self._sum[closing] = 0.0
        self._steps[closing] = 0.0
        if self.progress < 1.0 and closing.any():
            self._widen(closing)

    def _widen(self, closing: Tensor) -> None:
        """Widen the ranges where tracking is good; the share of environments decides the pace."""
        good = (self.error[closing].abs() < self._widen_below).all(dim=1).float().mean()
        share = closing.float().mean()
        if good > 0.6:
            self.progress = min(1.0, self.progress + 0.02 * float(share))
            self._set_ranges()

    def reset(self, state: State, ids: Tensor) -> None:
        """Start afresh, with the velocity at hand as the mean."""
        velocity = torch.cat([state.base_lin_vel_heading[:, :2], state.yaw_rate[:, None]], dim=1)
        self.mean_velocity[ids] = velocity[ids]
        self._sum[ids] = 0.0
        self._steps[ids] = 0.0
        self.error[ids] = math.nan
        super().reset(state, ids)
