"""What a film shows beside the robot: what it is told, what it does, and what it gets for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stridelab.evaluation.frames import Frame, font
from stridelab.evaluation.plots import COLOURS
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp.commands import VelocityCommand

COMMAND_COLOUR, VELOCITY_COLOUR, CONTACT_COLOUR = COLOURS[0], COLOURS[1], COLOURS[2]
_ARROW_LENGTH = 0.8
"""Length of an arrow for 1 m/s, as a share of the standing height."""
_ARROW_HEIGHT = 0.03
"""Height of the arrows above the ground, as a share of the standing height."""
_SLOWEST = 0.03
"""Below this speed [m/s] there is no arrow, which would have no direction to speak of."""
_MAX_NUMBERS = 3
"""Commands of more columns are not written out."""
_ROWS, _COLUMNS = 5, 2
_WINDOW = 8.0
"""Time that the reward strip shows [s]."""
_STRIP = {
    "back": "#111827",
    "text": "#e2e8f0",
    "axis": "#4b5563",
    "good": "#56b4e9",
    "bad": "#e69f00",
}


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow in the scene."""

    start: NDArray[np.float64]
    """World point ``(3,)`` [m]."""
    end: NDArray[np.float64]
    """World point ``(3,)`` [m]."""
    width: float
    """Radius of the shaft [m]."""
    colour: str


@dataclass(frozen=True, kw_only=True)
class Disc:
    """A flat disc on the ground."""

    centre: NDArray[np.float64]
    """World point ``(3,)`` [m]."""
    radius: float
    """[m]"""
    colour: str


Mark = Arrow | Disc


class EnvOverlay:
    """What is to be shown of running environments.

    From under each robot point the commanded planar velocity, where the task has such a command,
    and the velocity of the base; under each foot in contact lies a disc.

    Args:
        env: The environments.
    """

    def __init__(self, env: BatchEnv) -> None:
        self._env = env
        self._size = float(env.robot.home_height)

    def marks(self, index: int) -> list[Mark]:
        """Return what stands in the scene of environment ``index``."""
        state = self._env.state
        marks: list[Mark] = []
        # The wider arrow of the command lies below the other, so that both are always seen.
        for command in state.commands.values():
            if isinstance(command, VelocityCommand):
                told = command.value[index, :2].double().numpy()
                marks += self._arrow(index, told, COMMAND_COLOUR, _ARROW_HEIGHT, 0.03)
        velocity = state.base_lin_vel_heading[index, :2].double().numpy()
        marks += self._arrow(index, velocity, VELOCITY_COLOUR, 2.0 * _ARROW_HEIGHT, 0.015)
        ground = state.ground_height(state.foot_pos)[index]
        for foot in state.feet.contact[index].nonzero().flatten().tolist():
            centre = state.foot_pos[index, foot].double().numpy().copy()
            centre[2] = float(ground[foot]) + 0.004 * self._size
            marks.append(Disc(centre=centre, radius=0.14 * self._size, colour=CONTACT_COLOUR))
        return marks

    def _arrow(
        self, index: int, velocity: NDArray[np.float64], colour: str, height: float, width: float
    ) -> list[Mark]:
        """Return an arrow for a velocity ``(2,)`` [m/s] in the heading frame, if there is one."""
        if float(np.linalg.norm(velocity)) < _SLOWEST:
            return []
        heading = float(self._env.state.base_heading[index])
        cosine, sine = np.cos(heading), np.sin(heading)
        x, y = velocity
        along = np.array([cosine * x - sine * y, sine * x + cosine * y, 0.0])
        state = self._env.state
        start = state.base_pos[index].double().numpy().copy()
        start[2] = float(state.ground_height(state.base_pos)[index]) + height * self._size
        end = start + _ARROW_LENGTH * self._size * along
        return [Arrow(start=start, end=end, width=width * self._size, colour=colour)]

    def lines(self, index: int) -> list[tuple[str, str, str | None]]:
        """Return name, value and colour of what the caption tells of environment ``index``."""
        state = self._env.state
        lines: list[tuple[str, str, str | None]] = []
        for name, command in state.commands.items():
            if len(command.names) <= _MAX_NUMBERS:
                numbers = " ".join(f"{value:+.2f}" for value in command.value[index].tolist())
                told = isinstance(command, VelocityCommand)
                lines.append((f"command {name}", numbers, COMMAND_COLOUR if told else None))
        feet = "  ".join("●" if down else "○" for down in state.feet.contact[index].tolist())
        lines.append(("foot contacts", feet, CONTACT_COLOUR))
        return lines

    def rewards(self, indices: Sequence[int]) -> dict[str, float]:
        """Return the weighted reward terms of the last step, mean over environments."""
        terms = self._env.reward_terms
        return {name: float(value[list(indices)].mean()) for name, value in terms.items()}


def add_marks(scene: mujoco.MjvScene, marks: Sequence[Mark]) -> None:
    """Put marks into a scene that has just been updated; what has no room is left out."""
    for mark in marks:
        if scene.ngeom >= scene.maxgeom:
            return
        geom = scene.geoms[scene.ngeom]
        rgba = np.array([*to_rgb(mark.colour), 0.9], dtype=np.float32)
        disc = isinstance(mark, Disc)
        kind = mujoco.mjtGeom.mjGEOM_CYLINDER if disc else mujoco.mjtGeom.mjGEOM_ARROW
        size = np.array([mark.radius, 0.003, 0.0]) if isinstance(mark, Disc) else np.ones(3)
        place = mark.centre if isinstance(mark, Disc) else mark.start
        mujoco.mjv_initGeom(geom, kind, size, place, np.eye(3).flatten(), rgba)
        if isinstance(mark, Arrow):
            mujoco.mjv_connector(geom, kind, mark.width, mark.start, mark.end)
        scene.ngeom += 1


class RewardStrip:
    """Reward terms over the last seconds, one row a term, each on its own scale.

    With more terms than rows it shows those that have weighed most so far, in their own order.

    Args:
        width: Width [pixel].
        height: Height [pixel].
        fps: Frames per second [1/s].
    """

    def __init__(self, width: int, height: int, fps: int) -> None:
        self._width, self._height = width, height
        self._steps = max(2, round(_WINDOW * fps))
        self._past: dict[str, deque[float]] = {}
        self._weight: dict[str, float] = {}

    def add(self, terms: Mapping[str, float]) -> None:
        """Take in the terms of a frame."""
        for name, value in terms.items():
            self._past.setdefault(name, deque(maxlen=self._steps)).append(value)
            self._weight[name] = self._weight.get(name, 0.0) + abs(value)

    def shown(self) -> list[str]:
        """Return the terms that have a row."""
        heaviest = sorted(self._weight, key=lambda name: -self._weight[name])
        chosen = set(heaviest[: _ROWS * _COLUMNS])
        return [name for name in self._past if name in chosen]

    def draw(self) -> Frame:
        """Return the picture ``(height, width, 3)``."""
        image = Image.new("RGB", (self._width, self._height), _STRIP["back"])
        draw = ImageDraw.Draw(image)
        for place, name in enumerate(self.shown()):
            column, row = divmod(place, _ROWS)
            self._draw_row(draw, name, column * self._width / _COLUMNS, row)
        return np.asarray(image)

    def _draw_row(self, draw: ImageDraw.ImageDraw, name: str, left: float, row: int) -> None:
        pitch = self._height / (_ROWS + 0.6)
        width = self._width / _COLUMNS
        size = max(7, round(0.5 * pitch))
        middle = (row + 0.8) * pitch
        values = np.array(self._past[name])
        label = font("DejaVuSans.ttf", size)
        draw.text((left + 0.02 * width, middle), name, _STRIP["text"], label, anchor="lm")
        now = f"{values[-1]:+.2g}".replace("-", "\u2212")
        draw.text((left + 0.97 * width, middle), now, _STRIP["text"], label, anchor="rm")
        start, length = left + 0.42 * width, 0.4 * width
        draw.line((start, middle, start + length, middle), _STRIP["axis"])
        scale = 0.42 * pitch / max(1e-9, float(np.abs(values).max()))
        for step, value in enumerate(values):
            x = start + length * step / self._steps
            colour = _STRIP["good" if value >= 0.0 else "bad"]
            draw.line(
                (x, middle, x, middle - scale * value), colour, max(1, round(length / self._steps))
            )
