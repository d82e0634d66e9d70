"""Videos of running simulations, rendered without a window."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import mujoco
import numpy as np
from mujoco.rendering.classic import gl_context
from numpy.typing import NDArray

from stridelab.evaluation.frames import Frame, caption, grid_shape, mp4_writer, tile, write_mp4
from stridelab.evaluation.overlay import VELOCITY_COLOUR, EnvOverlay, RewardStrip, add_marks
from stridelab_envs.errors import UserError, unknown_name

__all__ = [
    "SceneSource",
    "VideoRecorder",
    "forward_velocity",
    "framing_camera",
    "open_renderer",
    "write_mp4",
]

logger = logging.getLogger(__name__)

_AZIMUTH, _ELEVATION = 130.0, -12.0
"""Camera direction [deg]: from the front right and slightly above, for a robot that walks to +x."""
_FOLLOW_TIME = 0.25
"""Time constant [s] with which the camera follows; smooths the bob of each step away."""
_SNAP = 1.0
"""A robot that moved this far [m] between two frames was reset; the camera jumps after it."""
_MAX_KEPT = 64
_STRIP = 0.25
"""Height of the reward strip, as a share of the pictures above it."""


class SceneSource(Protocol):
    """What a recorder needs of a simulation."""

    @property
    def model(self) -> mujoco.MjModel:
        """The model that all simulations share."""

    def data(self, index: int) -> mujoco.MjData:
        """Return simulation ``index`` with current positions and velocities."""


class VideoRecorder:
    """Records simulations to an H.264 MP4: a camera follows each robot, a caption tells its state.

    Several simulations are tiled on a near-square grid. Call :meth:`capture` once a control step;
    frames are taken at the video's own rate, so that it plays in real time. Use it as a context
    manager: the file appears when the block ends well, an exception leaves none behind.

    Args:
        source: The simulations.
        path: MP4 file to write.
        title: First line of the caption, for example the task.
        control_dt: Time between two calls of :meth:`capture` [s].
        indices: The simulations to show.
        body: The body to follow; the one with the first free joint by default.
        width: Width of the video [pixel]; a little less where tiles do not fit evenly.
        height: Height of the video [pixel]; likewise.
        fps: Frames per second [1/s], at most one a control step.
        overlay: What to show beside the robots: arrows, contacts, and below the pictures a strip
            with the reward terms, mean over the simulations shown; None for the robots alone.

    Raises:
        UserError: OpenGL is missing or a setting is out of range.
    """

    def __init__(
        self,
        source: SceneSource,
        path: Path,
        *,
        title: str,
        control_dt: float,
        indices: Sequence[int] = (0,),
        body: str | None = None,
        width: int = 640,
        height: int = 480,
        fps: int = 25,
        overlay: EnvOverlay | None = None,
    ) -> None:
        if not indices:
            raise UserError("a video needs at least one environment to show")
        if fps * control_dt > 1.0 + 1e-9:
            raise UserError(
                f"{fps} frames per second: at most {1 / control_dt:g}, the control rate"
            )
        rows, columns = grid_shape(len(indices))
        # H.264 wants even sides.
        tile_size = width // columns // 2 * 2, height // rows // 2 * 2
        self._source = source
        self._title = title
        self._control_dt = control_dt
        self._indices = tuple(indices)
        self._body = _tracked_body(source.model, body)
        self._path = path
        self._fps = fps
        self._renderer = open_renderer(source.model, *tile_size)
        self._overlay = overlay
        strip_size = columns * tile_size[0], round(_STRIP * rows * tile_size[1]) // 2 * 2
        self._strip = RewardStrip(*strip_size, fps)
        self._cameras = [framing_camera(source.model, self._body) for _ in indices]
        self._stack = ExitStack()
        self._write: Callable[[Frame], None] | None = None
        self._calls = 0
        self._frames = 0
        self._stride = 1
        self.kept: list[Frame] = []
        """Pictures of the first simulation without caption, evenly spaced over the video so far,
        at most 64; for a film strip."""

    def __enter__(self) -> Self:
        self._stack.callback(self._renderer.close)
        self._write = self._stack.enter_context(mp4_writer(self._path, self._fps))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def capture(self, returns: Sequence[float] | None = None) -> None:
        """Take a frame if the video's clock has come to the next one.

        Args:
            returns: Return of the running episode, one for each shown simulation; None where
                nothing is rewarded.
        """
        assert self._write is not None, "use the recorder as a context manager"
        due = self._frames / self._fps <= self._calls * self._control_dt + 1e-9
        self._calls += 1
        if not due:
            return
        tiles = []
        for place, index in enumerate(self._indices):
            data = self._source.data(index)
            picture = self._render(place, index, data)
            if place == 0:
                self._keep(picture)
            lines = self._state(data)
            if self._overlay is not None:
                lines += self._overlay.lines(index)
            if returns is not None:
                lines.append(("episode return", f"{returns[place]:.2f}", None))
            tiles.append(caption(picture, self._title, lines))
        self._write(self._with_strip(tile(tiles)))
        self._frames += 1

    def _with_strip(self, picture: Frame) -> Frame:
        """Put the reward strip below the picture, where there is one."""
        if self._overlay is None:
            return picture
        self._strip.add(self._overlay.rewards(self._indices))
        return np.concatenate([picture, self._strip.draw()])

    def _keep(self, picture: Frame) -> None:
        """Keep every n-th picture; n doubles whenever there are too many."""
        if self._frames % self._stride == 0:
            self.kept.append(picture)
            if len(self.kept) > _MAX_KEPT:
                self.kept = self.kept[::2]
                self._stride *= 2

    def _render(self, place: int, index: int, data: mujoco.MjData) -> Frame:
        camera = self._cameras[place]
        _follow(camera, data.xpos[self._body], 1.0 / self._fps)
        self._renderer.update_scene(data, camera)
        if self._overlay is not None:
            add_marks(self._renderer.scene, self._overlay.marks(index))
        # The fog hides the seam between floor and sky; it is off unless asked for.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_FOG] = 1
        picture: Frame = self._renderer.render()
        return picture

    def _state(self, data: mujoco.MjData) -> list[tuple[str, str, str | None]]:
        # Adding zero turns the -0.0 of a robot at rest into 0.0.
        speed = round(forward_velocity(self._source.model, data, self._body), 2) + 0.0
        return [
            ("time", f"{data.time:.2f} s", None),
            ("forward velocity", f"{speed:+.2f} m/s", VELOCITY_COLOUR if self._overlay else None),
        ]


def open_renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """Return a renderer of ``width`` x ``height`` pixels that needs no window.

    The backend is the one that the environment variable ``MUJOCO_GL`` names; on Linux it is set to
    ``egl`` when the user has not set it. The offscreen buffer of the model grows where needed.

    Raises:
        UserError: OpenGL is missing.
    """
    # A visual setting of the compiled model, so foreign models with a small buffer work too.
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
    model.vis.global_.offheight = max(model.vis.global_.offheight, height)
    chosen_here = sys.platform == "linux" and not os.environ.get("MUJOCO_GL")
    try:
        if chosen_here:
            os.environ["MUJOCO_GL"] = "egl"
            # MuJoCo chose its backend at import, long before we knew that we would render.
            importlib.reload(gl_context)
        return mujoco.Renderer(model, height, width)
    # Every backend fails in its own way: ImportError, AttributeError, GLError, RuntimeError, ...
    except Exception as error:
        logger.debug("no OpenGL", exc_info=True)
        backend = os.environ.get("MUJOCO_GL", "default")
        if chosen_here:
            # Left set, it would keep child processes from importing MuJoCo at all.
            del os.environ["MUJOCO_GL"]
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"cannot render without a window (MUJOCO_GL={backend}: {reason}); install EGL, for"
            " example: apt install libegl1 libgl1 (or libosmesa6, with MUJOCO_GL=osmesa)"
        ) from error


def forward_velocity(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> float:
    """Return the velocity [m/s] of a body along its heading: its x axis laid onto the ground."""
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0)
    heading = data.xmat[body].reshape(3, 3)[:2, 0]
    length = float(np.linalg.norm(heading))
    # A body that looks straight up has no heading.
    return float(velocity[3:5] @ heading) / length if length > 1e-6 else 0.0


def _tracked_body(model: mujoco.MjModel, name: str | None) -> int:
    """Return the id of the body to follow."""
    if name is not None:
        found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
        if found < 0:
            names = [model.body(i).name for i in range(1, model.nbody)]
            raise UserError(unknown_name("body", name, names))
        return int(found)
    free = np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_FREE)
    return int(model.jnt_bodyid[free[0]]) if free.size else min(1, model.nbody - 1)


def framing_camera(model: mujoco.MjModel, body: int) -> mujoco.MjvCamera:
    """Return a camera at a distance that fits the robot ``body``, looking at its initial place."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    camera = mujoco.MjvCamera()
    camera.azimuth, camera.elevation = _AZIMUTH, _ELEVATION
    camera.distance = 0.3 + 1.6 * _size(model, data, body)
    camera.lookat[:] = data.xpos[body]
    return camera


def _size(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> float:
    """Return the largest side [m] of the box around all geoms of the tree that holds ``body``."""
    own = model.body_rootid[model.geom_bodyid] == model.body_rootid[body]
    if not own.any():
        return 1.0
    centres, radii = data.geom_xpos[own], model.geom_rbound[own][:, None]
    return float(((centres + radii).max(axis=0) - (centres - radii).min(axis=0)).max())


def _follow(camera: mujoco.MjvCamera, target: NDArray[np.float64], dt: float) -> None:
    """Move the camera's look-at point towards ``target (3,)`` as a first-order lag would."""
    way = target - camera.lookat
    share = 1.0 if float(np.linalg.norm(way)) > _SNAP else 1.0 - float(np.exp(-dt / _FOLLOW_TIME))
    camera.lookat[:] += share * way
