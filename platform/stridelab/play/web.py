"""Playing with a policy in a browser, through MuJoCo Studio's web viewer.

Studio's server has no authentication and listens on every interface. Ours listens where it is told,
on this machine alone unless the user says otherwise.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from stridelab.play.follow import Follower
from stridelab.play.session import Session
from stridelab_envs.errors import UserError

LOOPBACK = "127.0.0.1"
_PORTS = range(8080, 8100)
"""Where a free port is looked for."""
_PATIENCE_S = 60.0
"""How long the viewer may take to come up [s]."""


def serve(
    session: Session,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    seconds: float | None = None,
    follower: Follower | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
    on_swap: Callable[[], None] = lambda: None,
) -> None:
    """Serve the viewer until the user quits, in the page or with Ctrl-C; no screen is needed.

    Once in a process, for Studio's interface does not come up a second time.

    Args:
        session: What to play.
        host: Name or IP address of the interface to listen on. Whoever reaches it can take over
            the robot.
        port: TCP port; 0 takes the first free one from 8080.
        seconds: How long [s] of simulated time; None without end.
        follower: Where newer policies come from.
        on_ready: Called with the address of the page.
        on_swap: Called after a newer policy has taken over.

    Raises:
        UserError: The viewer is not installed, or it cannot listen there.
    """
    _check_installed()
    from mujoco.studio import launch_thread, viewer_protocol
    from mujoco.studio.app import plugins as studio

    from stridelab.play.web_plugins import CommandPanel, SessionLoop

    host = _address_of(host)
    port = _free_port(host, port)
    loop = SessionLoop(session, seconds=seconds, follower=follower, on_swap=on_swap)
    app = studio.App(studio.Config(show_inspector=False))
    env = session.env
    panel = CommandPanel(
        app,
        title=env.task.id,
        dials=session.dials.dials,
        body=env.sim.model.body(env.robot.base_body).id,
    )
    config = viewer_protocol.ViewerConfig(title=env.task.id, gfx="web", http_port=port)
    viewer_type = _listening_on(host)

    def run_viewer(endpoint: Any) -> None:
        viewer_protocol.run_viewer_loop(viewer_type(config, endpoint, plugins=[app, panel]))

    logging.getLogger("WebServer").setLevel(logging.WARNING)
    # Studio greets with a banner; what to say of the address is ours.
    with contextlib.redirect_stdout(io.StringIO()):
        handle = launch_thread.launch_thread(run_viewer, sim_plugins=[loop])
        loop.publish()
        panel.is_shown.wait(_PATIENCE_S)
    with contextlib.suppress(KeyboardInterrupt), handle:
        _check_listens(host, port)
        on_ready(f"http://{LOOPBACK if _is_any(host) else host}:{port}/")
        while handle.is_running() and not loop.is_over:
            handle.sync()


def _listening_on(host: str) -> Any:
    """Return Studio's viewer, but listening on ``host``."""
    from mujoco.studio import web_viewer

    class Viewer(web_viewer.WebViewer):
        # Studio sets the address of every interface, with a note that it should be an option.
        _host = property(lambda self: host, lambda self, value: None)

    return Viewer


def _check_installed() -> None:
    """Refuse where the viewer, or its part for the browser, is missing."""
    try:
        web: Any = importlib.import_module("mujoco.studio.web")
        for part in ("web_server", "headless_ui"):
            importlib.import_module(f"mujoco.studio.web.{part}")
    except ImportError as error:
        raise UserError(
            f"--web needs MuJoCo's browser viewer ({error}): "
            ".venv/bin/python -m pip install mujoco-studio"
        ) from None
    page = Path(web.__file__).parent / "dist" / "index.html"
    if not page.is_file():
        raise UserError(f"--web: {page} is missing; install mujoco-studio again")


def _address_of(host: str) -> str:
    """Return the IP address of a name."""
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host}: {error}") from None


def _free_port(host: str, port: int) -> int:
    """Return a port that can be listened on.

    Raises:
        UserError: There is none, or the one asked for is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in [port] if port else _PORTS:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                reason = error.strerror
                continue
            return candidate
    wanted = str(port) if port else f"{_PORTS[0]} to {_PORTS[-1]}"
    raise UserError(f"--web cannot listen on {host}, port {wanted}: {reason}")


def _check_listens(host: str, port: int) -> None:
    """Make sure that nobody can reach the viewer whom the user did not invite.

    Raises:
        UserError: The viewer does not listen, or elsewhere.
    """
    found = [
        connection.laddr.ip
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    if host not in found or (host == LOOPBACK and found != [LOOPBACK]):
        where = ", ".join(found) or "nowhere"
        raise UserError(f"--web: MuJoCo's viewer was to listen on {host}, but listens on {where}")


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")
