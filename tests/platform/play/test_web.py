"""The viewer for the browser, without a browser: where it listens, and what its clicks do."""

import importlib
import socket
import threading
import time
import urllib.request

import mujoco
import numpy as np
import psutil
import pytest

from stridelab.play import web
from stridelab.play.controls import REST
from stridelab_envs.errors import UserError

pytest.importorskip("mujoco.studio.web.headless_ui", reason="MuJoCo's browser viewer is missing")
messages = importlib.import_module("mujoco.studio.messages")
sim = importlib.import_module("mujoco.studio.sim")
plugins = importlib.import_module("stridelab.play.web_plugins")


class FakeHandle:
    """Where a loop finds the scene, and leaves what the viewer is to know."""

    def __init__(self):
        self.sent = []

    def set_model(self, model, data):
        self.model, self.data = model, data

    def send_to_viewer(self, message):
        self.sent.append(message)


def make_loop(session, **options):
    options = {"seconds": None, "follower": None, "on_swap": lambda: None} | options
    loop = plugins.SessionLoop(session, **options)
    loop.handle = FakeHandle()
    loop.publish()
    return loop


def run(loop, steps):
    """Let the loop make so many control steps, in whatever time."""
    count = 0
    while count < steps:
        before = loop.handle.data.time
        loop.on_step(messages.StepEvent(loop.handle.model, loop.handle.data))
        count += loop.handle.data.time != before


def linger(loop, rounds=30):
    for _ in range(rounds):
        loop.on_step(messages.StepEvent(loop.handle.model, loop.handle.data))


class TestLoop:
    def test_time_passes_as_fast_as_asked(self, walk_session):
        loop = make_loop(walk_session)
        loop.on_step_control(messages.StepControlSnapshot(speed=50.0))
        run(loop, 1)
        start = time.monotonic()
        run(loop, 5)
        # Five steps at half the speed; the first of them may have been due already.
        assert time.monotonic() - start > 4 * 2.0 * walk_session.dt * 0.9
        assert loop.handle.data.time == pytest.approx(6 * walk_session.dt)

    def test_pause_and_single_steps(self, walk_session):
        loop = make_loop(walk_session)
        run(loop, 2)
        loop.on_step_control(messages.StepControlSnapshot(pause_state=sim.PauseState.NORMAL_PAUSED))
        linger(loop)
        assert loop.handle.data.time == pytest.approx(2 * walk_session.dt)
        loop.on_single_step(messages.SingleStepEvent())
        linger(loop)
        assert loop.handle.data.time == pytest.approx(3 * walk_session.dt)

    def test_reset_starts_an_episode(self, walk_session):
        loop = make_loop(walk_session)
        run(loop, 3)
        assert loop.on_reset(messages.ResetEvent())
        assert loop.handle.data.time == 0.0
        assert walk_session.episode_return == 0.0

    def test_dials_and_keys(self, walk_session):
        loop = make_loop(walk_session)
        loop.on_dial(plugins.DialEvent(1, 0.3))
        assert walk_session.dials.values[1] == pytest.approx(0.3)
        loop.on_key(plugins.KeyEvent(REST))
        loop.on_post_step(messages.PostStepEvent(loop.handle.model, loop.handle.data))
        [said] = [m for m in loop.handle.sent if isinstance(m, plugins.SessionSnapshot)]
        assert said.values == (0.0, 0.0, 0.0)
        assert said.by_hand == (True, True, True)

    def test_a_drag_pulls_and_letting_go_ends_it(self, walk_session):
        loop = make_loop(walk_session)
        loop.handle.data.xfrc_applied[3, 1] = 120.0
        run(loop, 1)
        assert float(walk_session.env.sim.xfrc_applied[0, 3, 1]) == 120.0
        loop.handle.data.xfrc_applied[:] = 0.0
        run(loop, 1)
        assert not walk_session.env.sim.xfrc_applied.any()

    def test_a_drag_while_paused_places_the_robot(self, walk_session):
        loop = make_loop(walk_session)
        moved = mujoco.MjData(loop.handle.model)
        moved.qpos[:] = loop.handle.data.qpos
        moved.qpos[0] = 2.5
        event = messages.StateEvent.from_data(
            loop.handle.model, moved, int(mujoco.mjtState.mjSTATE_QPOS)
        )
        loop.on_state(event)
        assert float(walk_session.env.sim.qpos[0, 0]) == 2.5
        np.testing.assert_array_equal(loop.handle.data.qpos, moved.qpos)

    def test_files_dropped_onto_the_page_change_nothing(self, walk_session):
        loop = make_loop(walk_session)
        model = loop.handle.model
        assert loop.on_load_model(messages.LoadModelEvent(path="/tmp/other.xml"))
        assert loop.handle.model is model
        assert loop.on_load_model(messages.LoadModelEvent())  # the reload button
        assert loop.handle.model is not model

    def test_a_newer_policy_takes_over(self, walk_session, walk_policy):
        class Once:
            policies = [walk_policy]

            def newer(self):
                return self.policies.pop() if self.policies else None

        said, swapped = [], []
        walk_session.swap = swapped.append
        loop = make_loop(walk_session, follower=Once(), on_swap=lambda: said.append(True))
        linger(loop, 3)
        assert swapped == [walk_policy]
        assert said == [True]

    def test_it_ends_in_time(self, walk_session):
        loop = make_loop(walk_session, seconds=0.04)
        run(loop, 1)
        assert not loop.is_over
        run(loop, 1)
        assert loop.is_over


class TestServe:
    # Studio's interface comes up once in a process, so one test alone serves.
    def test_it_listens_on_this_machine_alone_and_serves_the_page(self, walk_session, capsys):
        found = {}

        def look(address):
            def fetch():
                with urllib.request.urlopen(address, timeout=20) as answer:
                    found["page"] = answer.read().decode()
                with urllib.request.urlopen(f"{address}model?total_bytes", timeout=20) as answer:
                    found["model"] = answer.read().decode()
                found["done"] = True

            port = int(address.rpartition(":")[2].rstrip("/"))
            found["address"] = address
            found["listening"] = [
                c.laddr.ip
                for c in psutil.Process().net_connections("tcp")
                if c.status == psutil.CONN_LISTEN and c.laddr.port == port
            ]
            found["thread"] = threading.Thread(target=fetch)
            found["thread"].start()

        web.serve(walk_session, seconds=0.5, on_ready=look)
        found["thread"].join(30)
        assert found["address"].startswith("http://127.0.0.1:80")
        assert found["listening"] == ["127.0.0.1"]
        assert "<title>MuJoCo Web Viewer</title>" in found["page"]
        assert '"total_bytes"' in found["model"]
        assert float(walk_session.env.sim.time[0]) == pytest.approx(0.5)
        assert "MuJoCo" not in capsys.readouterr().out  # its banner names other addresses

    def test_a_taken_port_is_said_in_one_line(self, walk_session):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(UserError, match=f"port {port}: Address already in use"):
                web.serve(walk_session, port=port)

    def test_an_address_of_another_machine_is_said_in_one_line(self, walk_session):
        with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1"):
            web.serve(walk_session, host="192.0.2.1")

    def test_an_unknown_name_is_said_in_one_line(self, walk_session):
        with pytest.raises(UserError, match="no such machine: "):
            web.serve(walk_session, host="no such machine")

    def test_a_name_is_resolved(self):
        assert web._address_of("localhost") in ("127.0.0.1", "::1")
        assert web._address_of("0.0.0.0") == "0.0.0.0"

    def test_a_missing_viewer_is_said_in_one_line(self, walk_session, monkeypatch):
        def fail(name):
            raise ImportError("No module named 'mujoco.studio'")

        monkeypatch.setattr(web.importlib, "import_module", fail)
        with pytest.raises(UserError, match="pip install mujoco-studio"):
            web.serve(walk_session)

    def test_a_viewer_that_listens_elsewhere_is_refused(self):
        with socket.socket() as everywhere:
            everywhere.bind(("0.0.0.0", 0))
            everywhere.listen()
            port = everywhere.getsockname()[1]
            web._check_listens("0.0.0.0", port)
            with pytest.raises(UserError, match=r"on 127\.0\.0\.1, but listens on 0\.0\.0\.0"):
                web._check_listens("127.0.0.1", port)
        with pytest.raises(UserError, match="but listens on nowhere"):
            web._check_listens("127.0.0.1", port)
