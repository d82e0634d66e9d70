"""Keys and sticks that turn dials, the same in every viewer."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any

from stridelab.play.dials import CommandDials
from stridelab_envs.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key; its name is that of Dear ImGui without underscores."""

    name: str
    glfw: int
    """Code of the key in GLFW."""
    text: str
    """What it does."""


# A positive command is forward, to the left, or to turn left.
AXES = (
    (
        Key(name="UpArrow", glfw=265, text="first dial up (forward)"),
        Key(name="DownArrow", glfw=264, text="first dial down (backward)"),
    ),
    (
        Key(name="LeftArrow", glfw=263, text="second dial up (turn left)"),
        Key(name="RightArrow", glfw=262, text="second dial down (turn right)"),
    ),
    (
        Key(name="PageUp", glfw=266, text="third dial up (to the left)"),
        Key(name="PageDown", glfw=267, text="third dial down (to the right)"),
    ),
)
"""Keys that turn the dials up and down, in the order of ``CommandDials.dials``."""
REST = Key(name="Home", glfw=268, text="all dials to zero")
RELEASE = Key(name="End", glfw=269, text="let the task command again")
KEYS = (*(key for pair in AXES for key in pair), REST, RELEASE)
"""Every key there is."""
AXIS_TEXTS = ("up/down arrow", "left/right arrow", "page up/down")
"""The keys of :data:`AXES`, for people."""

_DEAD_ZONE = 0.15
"""Share of a stick's way that counts as rest; worn sticks do not come back to the middle."""


def press(dials: CommandDials, key: Key) -> None:
    """Do what a key is for."""
    if key == REST:
        dials.rest()
    elif key == RELEASE:
        dials.release()
    else:
        for index, (up, down) in enumerate(AXES):
            if key in (up, down):
                dials.nudge(index, 1 if key == up else -1)


class Gamepad:
    """The first gamepad: left stick walks, right stick turns; every control step it is asked.

    A stick at rest leaves the dials to others, once it has let go of them.

    Raises:
        UserError: No gamepad is connected, or the library for it is missing.
    """

    def __init__(self) -> None:
        # SDL wants a screen and the focus of a window for itself; we have neither.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            self._pygame: Any = importlib.import_module("pygame")
            controllers: Any = importlib.import_module("pygame._sdl2.controller")
        except ImportError:
            raise UserError(
                "--gamepad needs pygame: .venv/bin/python -m pip install pygame-ce"
            ) from None
        self._pygame.display.init()  # without it SDL has no queue of events
        controllers.init()
        pads = [i for i in range(controllers.get_count()) if controllers.is_controller(i)]
        if not pads:
            raise UserError("--gamepad: no gamepad is connected to this machine")
        self._pad: Any = controllers.Controller(pads[0])
        self._before = [0.0, 0.0, 0.0]

    def __call__(self, dials: CommandDials) -> None:
        """Turn the dials as the sticks stand."""
        pygame = self._pygame
        pygame.event.pump()
        axes = (
            pygame.CONTROLLER_AXIS_LEFTY,
            pygame.CONTROLLER_AXIS_RIGHTX,
            pygame.CONTROLLER_AXIS_LEFTX,
        )
        # Up and left are negative here; a positive command is forward or to the left.
        shares = [-self._axis(axis) for axis in axes]
        if shares != self._before:
            dials.steer(shares)
        self._before = shares

    def _axis(self, axis: int) -> float:
        """Return where a stick stands, from -1 (up, left) to 1 (down, right)."""
        share = max(-1.0, self._pad.get_axis(axis) / 32767.0)
        return share if abs(share) > _DEAD_ZONE else 0.0
