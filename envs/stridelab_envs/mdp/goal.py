"""What a robot is to do with the things around it: scene, goal and success of a task.

Tasks differ in which things they use; how they are told to a policy is the same for all. A goal
is 14 numbers in the base's heading frame, with a mask that says which of them mean anything:

* ``object``: what is handled, relative to the base's origin (3),
* ``target``: where it is to be, relative to where it is (3),
* ``left_wrist``, ``right_wrist``: wrists relative to where they are to touch (3 each),
* ``scalars``: two numbers of the task's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stridelab_envs.mdp.commands import FOREVER, Command, Ranges
from stridelab_envs.mdp.math import to_heading

if TYPE_CHECKING:
    from stridelab_envs.mdp.objects import Objects
    from stridelab_envs.mdp.state import State

TASKS = ("reach", "button", "cabinet", "ball", "box", "transfer", "lift", "carry")
"""The tasks in the order of the one-hot vector."""
GOAL_PARTS = {
    "object": slice(0, 3),
    "target": slice(3, 6),
    "left_wrist": slice(6, 9),
    "right_wrist": slice(9, 12),
    "scalars": slice(12, 14),
}
"""Where each part lies in a goal."""
GOAL_SIZE = 14
_RESTING = 0.02
"""A thing lies on something if its height is right to within this [m]."""

Draw = Mapping[str, Tensor]
"""Name of a range, without the task's, to the numbers drawn, ``(k,)``."""


@dataclass(frozen=True, kw_only=True)
class Manipulation:
    """One task: what it puts where, what it asks for and when that is done."""

    name: str
    """One of :data:`TASKS`."""
    objects: tuple[str, ...]
    """What the scene must hold."""
    ranges: Ranges
    """What is drawn when an episode starts; names begin with the task's."""
    place: Callable[[Objects, Tensor, Draw], None]
    """Puts things in their places in simulations ``ids (k,)``."""
    handled: str
    """Site of what is handled."""
    target: str | None = None
    """Site of where it is to be."""
    touch: tuple[str | None, str | None] = (None, None)
    """Sites where the left and the right wrist are to touch."""
    moved: str | None = None
    """The free object that is handled, if it is one."""
    scalars: Callable[[State], Tensor]
    """The task's own numbers, ``(num_envs, 1 or 2)``."""
    scalar_count: int = 1
    """How many of them there are."""
    error: Callable[[State, ManipulationGoal], Tensor]
    """What is left to do, ``(num_envs,)``."""
    tolerance: float
    """The task is done when the error stays below this."""
    hold: float = 0.5
    """Time for which it must stay so [s]."""
    resting_height: float | None = None
    """Height [m] at which what is handled must come to lie, if it must lie on something."""

    @property
    def index(self) -> int:
        """Place in the one-hot vector."""
        return TASKS.index(self.name)

    def mask(self) -> Tensor:
        """Which numbers of the goal mean anything, ``(14,)`` of 0 and 1."""
        mask = torch.zeros(GOAL_SIZE)
        used = [self.handled, self.target, *self.touch]
        for part, site in zip(GOAL_PARTS.values(), used, strict=False):
            mask[part] = float(site is not None)
        start = GOAL_PARTS["scalars"].start
        mask[start : start + self.scalar_count] = 1.0
        return mask


class ManipulationGoal(Command):
    """Draws a task for each episode, puts its things in their places and watches for success.

    Args:
        state: The robots.
        tasks: The tasks to draw from, with equal chances.
        ranges: What is drawn for each episode, as of :class:`Manipulation`, all tasks together.
    """

    can_be_given = False  # things are put in their places when an episode starts

    def __init__(self, state: State, *, tasks: Sequence[Manipulation], ranges: Ranges) -> None:
        super().__init__(state, ranges=ranges, resampling_time=FOREVER)
        self._tasks = tuple(tasks)
        count, model = state.num_envs, state.sim.model
        self.task = torch.zeros(count, dtype=torch.long)
        """Which task each environment plays, an index of :data:`TASKS`, ``(num_envs,)``."""
        self.error = torch.zeros(count)
        """What is left to do, in the units of the task, ``(num_envs,)``."""
        self.done = torch.zeros(count, dtype=torch.bool)
        """Whether the error is within the tolerance now, ``(num_envs,)``."""
        self.done_time = torch.zeros(count)
        """Time for which it has been, without a break [s], ``(num_envs,)``."""
        self.succeeded = torch.zeros(count, dtype=torch.bool)
        """Whether it has been for long enough at some time in the episode, ``(num_envs,)``."""
        self._rows = torch.arange(count)
        self._indices = torch.tensor([task.index for task in self._tasks])
        self._sites = torch.zeros(len(TASKS), 4, dtype=torch.long)
        self._masks = torch.zeros(len(TASKS), GOAL_SIZE)
        for task in self._tasks:
            used = [task.handled, task.target, *task.touch]
            places = [model.site(site).id if site else 0 for site in used]
            self._sites[task.index] = torch.tensor(places)
            self._masks[task.index] = task.mask()

    def plays(self, task: str) -> Tensor:
        """Say which environments play ``task``, ``(num_envs,)`` bool."""
        return self.task == TASKS.index(task)

    @property
    def mask(self) -> Tensor:
        """Which numbers of each goal mean anything, ``(num_envs, 14)`` of 0 and 1."""
        return self._masks[self.task]

    def prepare(self, state: State, ids: Tensor) -> None:
        """Draw tasks for environments ``ids (k,)`` and put their things in their places."""
        unit = torch.rand(ids.numel(), len(self.names) + 1, generator=self.generator)
        self.value[ids] = self.sample(unit[:, :-1])
        self.task[ids] = self._indices[(unit[:, -1] * len(self._tasks)).long()]
        for memory in (self.error, self.done, self.done_time, self.succeeded):
            memory[ids] = 0
        state.objects.park(ids)
        for task in self._tasks:
            chosen = ids[self.task[ids] == task.index]
            if chosen.numel():
                prefix = f"{task.name}_"
                draw = {
                    name.removeprefix(prefix): self.column(name)[chosen] for name in task.ranges
                }
                task.place(state.objects, chosen, draw)

    def draw(self, state: State, ids: Tensor) -> None:
        """Keep what was drawn for the whole episode."""
        self.time_left[ids] = torch.inf

    def tick(self, state: State) -> None:
        """Measure what is left to do, and for how long it has been done."""
        done = torch.zeros_like(self.done)
        for task in self._tasks:
            plays = self.task == task.index
            error = task.error(state, self)
            near = error < task.tolerance
            if task.resting_height is not None:
                height = self.points(state)[:, 0, 2]
                near &= (height - task.resting_height).abs() < _RESTING
            self.error = torch.where(plays, error, self.error)
            done |= plays & near
        self.done = done
        self.done_time = (self.done_time + state.dt) * done
        for task in self._tasks:
            long_enough = self.done_time > task.hold - 1e-6
            self.succeeded = self.succeeded | (done & long_enough & (self.task == task.index))

    def points(self, state: State) -> Tensor:
        """Return what the goals speak of [m], world frame, ``(num_envs, 4, 3)``.

        In this order: what is handled, its target, and where the left and right wrists are to
        touch. Points that a task does not use mean nothing.
        """
        return state.once("goal_points", lambda: self._look(state))

    def _look(self, state: State) -> Tensor:
        sites = self._sites[self.task]
        return state.sim.read("site_xpos")[self._rows[:, None], sites]

    def vector(self, state: State) -> Tensor:
        """Return the goals, ``(num_envs, 14)``; zero where the mask is."""
        return state.once("goal_vector", lambda: self._vector(state))

    def _vector(self, state: State) -> Tensor:
        handled, target, left, right = self.points(state).unbind(dim=1)
        wrists = state.wrist_pos
        offsets = torch.stack(
            [handled - state.base_pos, target - handled, wrists[:, 0] - left, wrists[:, 1] - right],
            dim=1,
        )
        offsets = to_heading(state.base_heading.unsqueeze(1), offsets).flatten(1)
        scalars = torch.zeros(state.num_envs, 2)
        for task in self._tasks:
            own = task.scalars(state)
            plays = (self.task == task.index)[:, None]
            width = task.scalar_count
            scalars[:, :width] = torch.where(plays, own, scalars[:, :width])
        return torch.cat([offsets, scalars], dim=1) * self.mask

    def of_moved(self, look: Callable[[str], Tensor], width: int) -> Tensor:
        """Return ``look(name) (num_envs, width)`` of the free object handled; zero without one."""
        found = torch.zeros(self.task.shape[0], width)
        for task in self._tasks:
            if task.moved is not None:
                plays = (self.task == task.index)[:, None]
                found = torch.where(plays, look(task.moved), found)
        return found
