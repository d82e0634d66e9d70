"""The native window, without one."""

import glfw
import mujoco.viewer
import numpy as np
import pytest

from stridelab.play import window
from stridelab.play.controls import AXES
from stridelab_envs.errors import UserError


class FakeWindow:
    """A window that is closed after some pictures; at the second one somebody presses and drags."""

    def __init__(self, model, data, key_callback, *, pictures=4, body=1):
        self.data, self.press, self.left = data, key_callback, pictures
        self.times = []
        self.perturb = mujoco.MjvPerturb()
        self._model, self._body = model, body

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.left = 0

    def is_running(self):
        return self.left > 0

    def sync(self):
        self.left -= 1
        self.times.append(self.data.time)
        if len(self.times) == 1:
            self.press(AXES[0][0].glfw)
            self.press(65)  # an A, which is none of ours
            self.perturb.select, self.perturb.active = self._body, 1
            self.perturb.localmass = self.perturb.scale = 1.0
            self.perturb.refselpos = self.data.xpos[self._body] + [0.0, 0.5, 0.0]


@pytest.fixture
def opened(monkeypatch):
    windows = []

    def launch(model, data, key_callback):
        windows.append(FakeWindow(model, data, key_callback))
        return windows[-1]

    monkeypatch.setattr(glfw, "init", lambda: True)
    monkeypatch.setattr(mujoco.viewer, "launch_passive", launch)
    return windows


def test_it_shows_every_step_until_the_window_closes(walk_session, opened):
    before = walk_session.dials.values[0]
    window.watch(walk_session, seconds=None, follower=None)
    assert opened[0].times == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert walk_session.dials.by_hand[0]
    assert walk_session.dials.values[0] != before
    force = walk_session.env.sim.xfrc_applied[0].numpy()
    assert force[1, 1] > 0.0
    np.testing.assert_array_equal(np.delete(force, 1, axis=0), 0.0)


def test_it_ends_in_time(walk_session, opened):
    window.watch(walk_session, seconds=0.04, follower=None)
    assert opened[0].times == pytest.approx([0.02, 0.04])


def test_newer_policies_take_over(walk_session, opened):
    class Twice:
        asked = 0

        def newer(self):
            self.asked += 1
            return "newer" if self.asked == 2 else None

    swapped = []
    walk_session.swap = swapped.append
    window.watch(walk_session, seconds=None, follower=Twice())
    assert swapped == ["newer"]


def test_a_missing_screen_is_said_in_one_line(walk_session, monkeypatch):
    monkeypatch.setattr(glfw, "init", lambda: False)
    monkeypatch.setattr(glfw, "get_error", lambda: (65550, b"X11: no display"))
    with pytest.raises(UserError, match=r"X11: no display.*--web") as raised:
        window.watch(walk_session, seconds=None, follower=None)
    assert "\n" not in str(raised.value)
