"""Playing with a policy in MuJoCo's own window."""

from __future__ import annotations

import queue
import time
import warnings
from typing import Any

import glfw
import mujoco.viewer

from stridelab.play.controls import KEYS, press
from stridelab.play.follow import Follower
from stridelab.play.session import Session
from stridelab_envs.errors import UserError


def watch(session: Session, *, seconds: float | None, follower: Follower | None) -> None:
    """Open MuJoCo's viewer and let the policy act in real time until the window closes.

    Double-click a body and drag it with the control key held to pull at it; the keys are
    :data:`stridelab.play.controls.KEYS`.

    Args:
        session: What to play.
        seconds: How long [s]; None until the window closes.
        follower: Where newer policies come from.

    Raises:
        UserError: If there is no screen.
    """
    model = session.env.sim.model
    data = session.env.sim.data(0)
    pressed: queue.SimpleQueue[int] = queue.SimpleQueue()  # by the window's own thread
    _check_screen()
    window = mujoco.viewer.launch_passive(model, data, key_callback=pressed.put)
    by_code = {key.glfw: key for key in KEYS}
    steps = None if seconds is None else round(seconds / session.dt)
    with window:
        while window.is_running() and steps != 0:
            start = time.monotonic()
            while not pressed.empty():
                key = by_code.get(pressed.get())
                if key is not None:
                    press(session.dials, key)
            newer = follower.newer() if follower is not None else None
            if newer is not None:
                session.swap(newer)
            data.xfrc_applied[:] = 0.0
            mujoco.mjv_applyPerturbForce(model, data, window.perturb)
            session.push(data.xfrc_applied)
            session.step()
            session.show(data)
            mujoco.mj_forward(model, data)
            window.sync()
            steps = None if steps is None else steps - 1
            time.sleep(max(0.0, session.dt - (time.monotonic() - start)))


def _check_screen() -> None:
    """Refuse where there is none; MuJoCo's viewer would end the process.

    Raises:
        UserError: No window can be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if glfw.init():
            return
    reason: Any = glfw.get_error()[1]  # bytes, whatever its annotation says
    why = reason.decode() if reason else "GLFW cannot start"
    raise UserError(f"no window can be opened here ({why}); use --web, or --video FILE")
