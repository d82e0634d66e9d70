"""The live viewer in a browser: it draws the robot, and clicks and keys reach the policy."""

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stridelab.export.bundle import load_bundle
from stridelab.play import web
from stridelab.play.session import Session

POLICY = Path(__file__).resolve().parents[2] / "experiments" / "policies" / "h1_walk"
PATIENCE_S = 90.0
"""Without a graphics card the page draws about one picture a second."""


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A walking robot and the address of its page."""
    pytest.importorskip(
        "mujoco.studio.web.headless_ui", reason="MuJoCo's browser viewer is missing"
    )
    monkeypatch.setenv("HOME", str(tmp_path))  # where Studio keeps its settings
    session = Session(load_bundle(POLICY), seed=0)
    ready, addresses = threading.Event(), []

    def on_ready(address):
        addresses.append(address)
        ready.set()

    class UntilTheEnd:
        """Nothing newer to follow; it ends the loop when the test is over."""

        over = False

        def newer(self):
            if self.over:
                raise KeyboardInterrupt

    end = UntilTheEnd()
    thread = threading.Thread(
        target=web.serve, args=(session,), kwargs={"follower": end, "on_ready": on_ready}
    )
    thread.start()
    assert ready.wait(PATIENCE_S)
    yield session, addresses[0]
    end.over = True
    thread.join(30.0)
    assert not thread.is_alive()


def wait_until(reached):
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)


def press(page, place, reached):
    """Press with the mouse until the page, which is slow here, has noticed."""
    page.mouse.move(*place)
    time.sleep(2.0)
    page.mouse.down()
    wait_until(reached)
    page.mouse.up()
    time.sleep(2.0)


def colours(page):
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).reshape(-1, 3)


@pytest.mark.slow
def test_it_shows_the_robot_and_takes_orders(browser, served, keep_screenshot):
    session, address = served
    page = browser.new_page(viewport={"width": 900, "height": 420})
    failures = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("response", lambda answer: failures.append(answer.url) if answer.status >= 400 else 0)
    page.goto(address)
    assert page.title() == "MuJoCo Web Viewer"
    wait_until(lambda: len(np.unique(colours(page) // 8, axis=0)) > 200)  # a scene, no empty page
    time.sleep(6.0)  # the windows come after the scene

    page.mouse.move(600, 300)
    page.keyboard.down("ArrowUp")
    wait_until(lambda: session.dials.by_hand[0])
    page.keyboard.up("ArrowUp")

    # A slider's middle is zero, its left end the low end.
    press(page, (240, 156), lambda: session.dials.values[0] < -0.2)
    keep_screenshot(page, "web_viewer")

    stood = []

    def stands():
        stood.append(session.env.state.episode_step.item())
        return len(stood) > 20 and len(set(stood[-20:])) == 1  # for four seconds

    since = time.monotonic()
    press(page, (60, 122), lambda: time.monotonic() > since + 5.0)
    wait_until(stands)
    keep_screenshot(page, "web_viewer_paused")
    assert failures == []
    page.close()
