"""The commands of a running task as dials that somebody turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from stridelab_envs.batch_env import BatchEnv

_NOTCHES = 10
"""Presses of a key from zero to the end of a range."""
_FIRST = ("lin_vel_x", "ang_vel_z", "lin_vel_y")
"""Columns that get the first axes of keyboard and gamepad, in this order; others follow."""


@dataclass(frozen=True, kw_only=True)
class Dial:
    """One number of one command."""

    command: str
    column: str
    low: float
    high: float
    label: str
    """For people: the column, after the command where the task has several."""

    def clamp(self, value: float) -> float:
        """Return the nearest value in the dial's range."""
        return min(max(value, self.low), self.high)


class CommandDials:
    """Dials for every number that the task commands; they stand in the order of the axes.

    Untouched, the task draws its commands as in training. Once a dial is turned, its command holds
    what the dials say, in this episode and those that follow, until :meth:`release`.

    Args:
        env: The environments, all of which get the same commands. Their task has no curriculum,
            see ``TaskConfig.for_evaluation``.
    """

    def __init__(self, env: BatchEnv) -> None:
        self._state = env.state
        self._commands = {n: c for n, c in env.state.commands.items() if c.can_be_given}
        prefixed = len(self._commands) > 1
        dials = [
            Dial(
                command=name,
                column=column,
                low=low,
                high=high,
                label=f"{name}.{column}" if prefixed else column,
            )
            for name, command in self._commands.items()
            for column, low, high in zip(
                command.names, command.low.tolist(), command.high.tolist(), strict=True
            )
        ]
        self.dials: tuple[Dial, ...] = tuple(sorted(dials, key=_rank))

    @property
    def values(self) -> list[float]:
        """What is commanded now in the first environment, in the order of :attr:`dials`."""
        return [float(self._commands[dial.command].column(dial.column)[0]) for dial in self.dials]

    @property
    def by_hand(self) -> list[bool]:
        """Whether each number is commanded by hand, in the order of :attr:`dials`."""
        return [self._commands[dial.command].given is not None for dial in self.dials]

    def turn(self, values: dict[int, float]) -> None:
        """Command numbers by hand: index of the dial to value, which its range limits."""
        for name, command in self._commands.items():
            own = {i: value for i, value in values.items() if self.dials[i].command == name}
            told = command.value[0].clone()
            for index, value in own.items():
                dial = self.dials[index]
                told[command.names.index(dial.column)] = dial.clamp(value)
            if own and (command.given is None or not torch.equal(told, command.given)):
                command.give(self._state, told)

    def nudge(self, index: int, notches: int) -> None:
        """Turn a dial by some notches; a dial that the task lacks is nobody's."""
        if index < len(self.dials):
            dial = self.dials[index]
            step = max(abs(dial.low), abs(dial.high)) / _NOTCHES
            # Whole notches, so that as many back lead to zero again.
            notch = round(self.values[index] / step) + notches if step else 0
            self.turn({index: notch * step})

    def steer(self, shares: Sequence[float]) -> None:
        """Turn the first dials to shares of their ranges: 1 is the high end, -1 the low, 0 zero."""
        self.turn(
            {
                index: share * (dial.high if share > 0 else -dial.low)
                for index, (dial, share) in enumerate(zip(self.dials, shares, strict=False))
            }
        )

    def rest(self) -> None:
        """Turn every dial to zero, or to what its range has nearest to it."""
        self.turn(dict.fromkeys(range(len(self.dials)), 0.0))

    def release(self) -> None:
        """Let the task draw its commands again."""
        for command in self._commands.values():
            if command.given is not None:
                command.give(self._state, None)


def _rank(dial: Dial) -> int:
    """Return the place of a dial; those of equal rank stay in the task's order."""
    return _FIRST.index(dial.column) if dial.column in _FIRST else len(_FIRST)
