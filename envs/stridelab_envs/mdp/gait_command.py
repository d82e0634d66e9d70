"""A velocity to walk with, a pause to stand in, and the gait clock that goes with both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import Ranges, VelocityCommand
from stridelab_envs.mdp.gait import meant_to_stand_at

if TYPE_CHECKING:
    from stridelab_envs.mdp.state import State

STANDING = 0.05
"""A command of a smaller norm means to stand; [m/s] and [rad/s] are added alike."""
LONGEST_FLIGHT = 0.5
"""A flight counts for no more than this [s]."""
LANDED_WELL = 0.8
"""Mean score of a tracked episode above which the curriculum widens the ranges."""
WIDEN = (0.25, 0.5)
"""By how much [m/s] the curriculum lowers the least and raises the greatest forward velocity."""


def means_to_stand(value: Tensor) -> Tensor:
    """Say which velocity commands ``(..., 3)`` mean to stand, ``(...)`` bool."""
    return value.norm(dim=-1) <= STANDING


class GaitCommand(VelocityCommand):
    """Walk, stand, walk: three commands that fill an episode, and a clock for the feet.

    The segments' times are drawn from ``walk_time``, ``stand_time``, ``walk_time`` and stretched
    alike to the length of the episode; each segment that walks draws its velocity when it begins.
    A velocity whose norm is at most ``STANDING`` means to stand.

    The clock starts at phase 0 or 0.5, by chance, and runs while the robot is to walk. While it is
    to stand the phase is 0; after that the clock starts again where it started the episode.

    With ``curriculum`` the range of ``lin_vel_x`` widens up to ``widest_x``: after every
    ``max_episode_steps`` control steps in which the episodes that ended scored more than
    ``LANDED_WELL`` on average, counting time lost by falling as zero.

    Args:
        state: The robots that are commanded.
        ranges: As of :class:`VelocityCommand`.
        walk_time: Shortest and longest time of a walking segment before stretching [s].
        stand_time: The same for standing [s].
        period: Of a gait cycle of two steps [s].
        sharpness: Of the score of the planar velocity: walking, standing.
        widest_x: Where the curriculum ends [m/s].
        curriculum: Whether the range widens.
        window: Length of a window for errors [s].
    """

    def __init__(
        self,
        state: State,
        *,
        ranges: Ranges,
        walk_time: Sequence[float],
        stand_time: Sequence[float],
        period: float,
        sharpness: Sequence[float],
        widest_x: Sequence[float],
        curriculum: bool,
        window: float = 1.0,
    ) -> None:
        super().__init__(state, ranges=ranges, resampling_time=walk_time, window=window)
        count, feet = state.num_envs, len(state.robot.feet)
        times = torch.tensor([list(walk_time), list(stand_time), list(walk_time)])
        self._shortest, self._longest = times.unbind(dim=1)
        self.period = period
        self._sharpness = (float(sharpness[0]), float(sharpness[1]))
        self._widest = (float(widest_x[0]), float(widest_x[1]))
        self._curriculum = curriculum
        self._elapsed = torch.zeros(count, dtype=torch.long)
        self._ends = torch.zeros(count, len(times), dtype=torch.long)
        self._segment_end = torch.zeros(count, dtype=torch.long)
        self._ticks = torch.zeros(count)
        self._start_phase = torch.zeros(count)
        self.standing = torch.zeros(count, dtype=torch.bool)
        """Whether the command means to stand, ``(num_envs,)``."""
        self.phase = torch.zeros(count)
        """Phase of the gait in cycles, ``(num_envs,)``; 0 while standing."""
        self.sine = torch.zeros(count)
        """Sine of the phase, ``(num_envs,)``."""
        self.stance = torch.ones(count, feet, dtype=torch.bool)
        """Whether each foot is meant to be on the ground, ``(num_envs, 2)``."""
        self.flight = torch.zeros(count, feet)
        """Length [s] of the flight that ended in this step for each foot, else 0."""
        self._air_time = torch.zeros(count, feet)
        self._last_contact = torch.zeros(count, feet, dtype=torch.bool)
        self._score = torch.zeros(count)
        self._scores = torch.zeros(2)  # sum and number of the episodes that ended
        self._curriculum_steps = 0.0

    def tick(self, state: State) -> None:
        """Advance the clock and take in the velocity and the contacts reached."""
        super().tick(state)
        self._elapsed += 1
        # From whole steps: a sum of periods would drift past the segment's end.
        self.time_left = (self._segment_end - self._elapsed) * state.dt
        self._ticks += 1.0
        self._set_clock(state.dt)
        self._follow_flights(state)
        self._score += self.lin_vel_score(state)
        if self._curriculum:
            self._follow_curriculum(state.max_episode_steps)

    def _set_clock(self, dt: float) -> None:
        self.standing = means_to_stand(self.value)
        self._ticks.masked_fill_(self.standing, 0.0)
        phase = self._ticks * (dt / self.period) + self._start_phase
        self.phase = phase.masked_fill(self.standing, 0.0)
        self.sine = torch.sin(2.0 * math.pi * self.phase)
        self.stance = meant_to_stand_at(self.sine)

    def _follow_flights(self, state: State) -> None:
        """Time each foot's flight, which the clock's stance ends as touching the ground does."""
        contact = state.feet.contact
        grounded = contact | self.stance | self._last_contact
        self._last_contact = contact
        landed = (self._air_time > 0.0) & grounded
        self._air_time += state.dt
        self.flight = self._air_time.clamp(max=LONGEST_FLIGHT) * landed
        self._air_time.masked_fill_(grounded, 0.0)

    def lin_vel_score(self, state: State) -> Tensor:
        """Score of the base's planar velocity in its own frame, from 0 to 1, ``(num_envs,)``.

        ``exp(-k |e|^2)`` of the error e [m/s] walking, ``exp(-k (|e_x| + |e_y|))`` standing, each
        with its own sharpness k.
        """
        error = self.value[:, :2] - state.base_lin_vel[:, :2]
        walk, stand = self._sharpness
        return torch.where(
            self.standing,
            torch.exp(-stand * error.abs().sum(dim=1)),
            torch.exp(-walk * error.square().sum(dim=1)),
        )

    def reset(self, state: State, ids: Tensor) -> None:
        """Draw the segments, the clock's start and the first command of a new episode."""
        ended = ids[self._elapsed[ids] > 0]
        self._scores += torch.stack(
            [self._score[ended].sum() / state.max_episode_steps, torch.tensor(float(ended.numel()))]
        )
        unit = torch.rand(ids.numel(), len(self._shortest) + 1, generator=self.generator)
        seconds = self._shortest + (self._longest - self._shortest) * unit[:, :-1]
        shares = seconds.cumsum(dim=1) / seconds.sum(dim=1, keepdim=True)
        self._ends[ids] = (shares * state.max_episode_steps).round().long()
        self._start_phase[ids] = 0.5 * (unit[:, -1] < 0.5)
        self._elapsed[ids] = 0
        self._ticks[ids] = 0.0
        self._air_time[ids] = 0.0
        self.flight[ids] = 0.0
        self._last_contact[ids] = False
        self._score[ids] = 0.0
        super().reset(state, ids)

    def draw(self, state: State, ids: Tensor) -> None:
        """Begin the segment that the time has come for; nothing comes after the last one."""
        segment = (self._elapsed[ids, None] >= self._ends[ids]).sum(dim=1)
        going_on = segment < self._ends.shape[1]
        ids, segment = ids[going_on], segment[going_on]
        unit = torch.rand(ids.numel(), len(self.names), generator=self.generator)
        stand = (segment % 2 == 1).unsqueeze(1) & (self.given is None)
        self.value[ids] = self.sample(unit).masked_fill(stand, 0.0)
        self._segment_end[ids] = self._ends[ids, segment]
        self.time_left[ids] = (self._segment_end[ids] - self._elapsed[ids]) * state.dt
        self._set_clock(state.dt)

    def _follow_curriculum(self, steps: int) -> None:
        self._curriculum_steps += 1.0
        if self._curriculum_steps < steps:
            return
        total, number = self._scores.tolist()
        if number and total / number > LANDED_WELL:
            self.low[0] = max(self._widest[0], float(self.low[0]) - WIDEN[0])
            self.high[0] = min(self._widest[1], float(self.high[0]) + WIDEN[1])
        self._curriculum_steps = 0.0
        self._scores.zero_()
