"""What MuJoCo Studio's viewer shows and runs when it plays a policy.

The viewer has a thread of its own. It sends what was pressed and turned, and shows what the session
says of itself; the session lives on the caller's thread alone.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
from mujoco.studio import messages, plugin, sim, ux
from mujoco.studio.app import plugins as studio
from mujoco.studio.dear_imgui import dear_imgui as imgui

from stridelab.evaluation.video import framing_camera
from stridelab.play.controls import AXIS_TEXTS, KEYS, RELEASE, REST, Key, press
from stridelab.play.dials import Dial
from stridelab.play.follow import Follower
from stridelab.play.session import Session

_IDLE_S = 0.005
"""Longest sleep of the loop [s], so that it hears of clicks in time."""
_LATE_S = 0.1
"""Time [s] that is caught up after a hold-up; more is let go."""
_LAST = messages.Priority.INTERNAL - 1
"""Handlers that run when Studio's own have."""
_MEASURE_S = 1.0
"""Time over which the speed reached is measured [s]."""
_PANEL_PLACE, _PANEL_WIDTH, _SLIDER_WIDTH = (220.0, 35.0), 270.0, 150.0
"""In pixels; the place is right of Studio's own pane."""


@dataclass(frozen=True)
class DialEvent(messages.Event):
    """The user turned a dial."""

    index: int
    value: float


@dataclass(frozen=True)
class KeyEvent(messages.Event):
    """The user pressed one of our keys, or the button that does the same."""

    key: Key


@dataclass(frozen=True)
class SessionSnapshot(messages.Snapshot):
    """How the session stands."""

    values: tuple[float, ...]
    by_hand: tuple[bool, ...]
    env_steps: int
    episode_return: float
    falls: int
    speed: float
    """Share of real time that is reached [%]."""


class SessionLoop(plugin.SimPlugin):
    """Runs the session in place of MuJoCo's own stepping, at the speed that the user asks for.

    Args:
        session: What to play.
        seconds: How long [s] of simulated time; None without end.
        follower: Where newer policies come from.
        on_swap: Called after a newer policy has taken over.
    """

    def __init__(
        self,
        session: Session,
        *,
        seconds: float | None,
        follower: Follower | None,
        on_swap: Callable[[], None],
    ) -> None:
        self._session, self._follower, self._on_swap = session, follower, on_swap
        self._steps_left = None if seconds is None else round(seconds / session.dt)
        self._speed = 100.0
        self._paused = False
        self._single_step = False
        self._next_step = self._measured_at = time.monotonic()
        self._steps_since = 0
        self._speed_reached = 0.0

    @property
    def is_over(self) -> bool:
        """Whether all steps have been made."""
        return self._steps_left == 0

    def publish(self) -> None:
        """Show the scene."""
        # The viewer's settings of physics end up in this copy; the policy's task stays as it is.
        model = copy.copy(self._session.env.sim.model)
        data = mujoco.MjData(model)
        self._session.show(data)
        self.handle.set_model(model, data=data)

    @messages.handler
    def on_load_model(self, event: messages.LoadModelEvent) -> bool:
        """Show the task's scene, and no other that somebody drops onto the page."""
        if not event.path:
            self.publish()
        return True

    @messages.handler
    def on_step_control(self, event: messages.StepControlSnapshot) -> bool:
        """Take over pause and speed."""
        self._paused = event.pause_state != sim.PauseState.UNPAUSED
        self._speed = event.speed
        return True

    @messages.handler
    def on_single_step(self, event: messages.SingleStepEvent) -> bool:
        """Make one control step while paused."""
        self._single_step = True
        return True

    @messages.handler
    def on_reset(self, event: messages.ResetEvent) -> bool:
        """Start a new episode."""
        self._session.reset()
        self._session.show(self.handle.data)
        return True

    @messages.handler
    def on_state(self, event: messages.StateEvent) -> bool:
        """Put the robot where the user has dragged it."""
        data = self.handle.data
        mujoco.mj_setState(self.handle.model, data, event.state, event.state_sig)
        self._session.place(data)
        return True

    @messages.handler
    def on_dial(self, event: DialEvent) -> bool:
        """Command by hand."""
        self._session.dials.turn({event.index: event.value})
        return True

    @messages.handler
    def on_key(self, event: KeyEvent) -> bool:
        """Do what a key is for."""
        press(self._session.dials, event.key)
        return True

    @messages.handler
    def on_step(self, event: messages.StepEvent) -> None:
        """Step when it is time to, else wait a little."""
        newer = self._follower.newer() if self._follower is not None else None
        if newer is not None:
            self._session.swap(newer)
            self._on_swap()
        now = time.monotonic()
        waiting = self._next_step - now
        if self._single_step or (not self._paused and waiting <= 0.0):
            self._step(event.data)
            self._next_step = max(self._next_step, now - _LATE_S)
            self._next_step += self._session.dt * 100.0 / self._speed
            self._single_step = False
        else:
            time.sleep(_IDLE_S if self._paused else min(waiting, _IDLE_S))

    def _step(self, data: mujoco.MjData) -> None:
        self._session.push(data.xfrc_applied)
        self._session.step()
        self._session.show(data)
        self._steps_since += 1
        if self._steps_left is not None:
            self._steps_left -= 1

    @messages.handler
    def on_post_step(self, event: messages.PostStepEvent) -> None:
        """Let the panel know."""
        self._measure_speed()
        session = self._session
        self.handle.send_to_viewer(
            SessionSnapshot(
                values=tuple(session.dials.values),
                by_hand=tuple(session.dials.by_hand),
                env_steps=session.env_steps,
                episode_return=session.episode_return,
                falls=session.falls,
                speed=self._speed_reached,
            )
        )

    def _measure_speed(self) -> None:
        """Measure now and then how fast time passes, which a slow machine slows down."""
        passed = time.monotonic() - self._measured_at
        if passed > _MEASURE_S:
            self._speed_reached = 100.0 * self._steps_since * self._session.dt / passed
            self._measured_at, self._steps_since = time.monotonic(), 0


class CommandPanel(plugin.ViewerPlugin):
    """A small window with a slider for each command, beside Studio's own.

    Args:
        app: Studio's own windows.
        title: Of the small window.
        dials: What there is to command.
        body: The body that the camera follows.
    """

    def __init__(self, app: studio.App, *, title: str, dials: tuple[Dial, ...], body: int) -> None:
        self._app, self._title, self._dials, self._body = app, title, dials, body
        self._said: SessionSnapshot | None = None
        self._is_open = True
        self.is_shown = threading.Event()
        """Set once the scene can be seen."""

    @messages.handler(priority=_LAST)
    def on_post_model(self, event: messages.PostModelEvent) -> None:
        """Follow the robot, which would walk out of the picture; open the window again."""
        self._is_open = True
        camera, framing = self.viewer.camera, framing_camera(event.model, self._body)
        camera.azimuth, camera.elevation = framing.azimuth, framing.elevation
        camera.distance = framing.distance
        camera.type = int(mujoco.mjtCamera.mjCAMERA_TRACKING)
        camera.trackbodyid = self._body
        self._app.ux_state.camera_index = ux.TRACKING_CAMERA_IDX
        self.is_shown.set()

    @messages.handler
    def on_session(self, event: SessionSnapshot) -> None:
        """Keep what the session said last."""
        self._said = event

    @messages.handler
    def on_update(self, event: messages.UpdateEvent) -> None:
        """Pass on our keys, unless the user is typing into a field."""
        if imgui.GetIO().WantCaptureKeyboard:
            return
        for key in KEYS:
            if imgui.IsKeyPressed(getattr(imgui.Key, key.name)):
                self.viewer.send_to_sim(KeyEvent(key))

    @messages.handler
    def on_build_gui(self, event: messages.BuildGuiEvent) -> None:
        """Draw the window."""
        said = self._said
        if said is None or not self._is_open:
            return
        imgui.SetNextWindowPos(imgui.Vec2(*_PANEL_PLACE), int(imgui.Cond.Appearing))
        imgui.SetNextWindowSize(imgui.Vec2(_PANEL_WIDTH, 0.0), int(imgui.Cond.Appearing))
        _, self._is_open = imgui.Begin(self._title, self._is_open)
        imgui.TextUnformatted(f"policy after {said.env_steps:,} steps")
        imgui.TextUnformatted(f"{said.speed:.0f} % of real time")
        imgui.TextUnformatted(f"return {said.episode_return:.1f}, falls {said.falls}")
        imgui.SeparatorText("Commands")
        if self._dials:
            self._sliders(said)
            self._buttons(said)
        else:
            imgui.TextUnformatted("this task takes no commands")
        imgui.SeparatorText("Push")
        imgui.TextUnformatted("double-click a body, then\nctrl + drag with the right button")
        imgui.End()

    def _sliders(self, said: SessionSnapshot) -> None:
        for index, (dial, value) in enumerate(zip(self._dials, said.values, strict=True)):
            imgui.SetNextItemWidth(_SLIDER_WIDTH)
            turned, new = imgui.SliderFloat(dial.label, value, dial.low, dial.high, "%.2f")
            if index < len(AXIS_TEXTS):
                imgui.SetItemTooltip(f"keys: {AXIS_TEXTS[index]}")
            if turned:
                self.viewer.send_to_sim(DialEvent(index, new))

    def _buttons(self, said: SessionSnapshot) -> None:
        imgui.TextUnformatted("by hand" if any(said.by_hand) else "drawn by the task")
        if imgui.Button("all to zero"):
            self.viewer.send_to_sim(KeyEvent(REST))
        imgui.SameLine()
        if imgui.Button("let the task draw"):
            self.viewer.send_to_sim(KeyEvent(RELEASE))
