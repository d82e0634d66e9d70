"""Keys and gamepads."""

import sys
from types import SimpleNamespace

import pytest

from stridelab.play.controls import AXES, AXIS_TEXTS, KEYS, RELEASE, REST, Gamepad, press
from stridelab_envs.errors import UserError


class Recorder:
    """Dials that write down what is done to them."""

    def __init__(self):
        self.done = []

    def __getattr__(self, name):
        return lambda *args: self.done.append((name, *args))


def test_keys_turn_dials():
    dials = Recorder()
    for key in KEYS:
        press(dials, key)
    assert dials.done == [
        *[("nudge", index, way) for index in range(3) for way in (1, -1)],
        ("rest",),
        ("release",),
    ]
    assert len(AXES) == len(AXIS_TEXTS)


def test_codes_and_names_are_those_of_glfw_and_imgui():
    import glfw

    names = {"UpArrow": "UP", "DownArrow": "DOWN", "LeftArrow": "LEFT", "RightArrow": "RIGHT"}
    names |= {"PageUp": "PAGE_UP", "PageDown": "PAGE_DOWN", "Home": "HOME", "End": "END"}
    for key in KEYS:
        assert key.glfw == getattr(glfw, f"KEY_{names[key.name]}")
    imgui = pytest.importorskip("mujoco.studio.dear_imgui.dear_imgui")
    for key in (*KEYS, REST, RELEASE):
        assert hasattr(imgui.Key, key.name)


@pytest.fixture
def sticks(monkeypatch):
    """A gamepad whose sticks stand where the test puts them: left x, left y, right x."""
    where = [0, 0, 0]
    pygame = SimpleNamespace(
        display=SimpleNamespace(init=lambda: None),
        event=SimpleNamespace(pump=lambda: None),
        CONTROLLER_AXIS_LEFTX=0,
        CONTROLLER_AXIS_LEFTY=1,
        CONTROLLER_AXIS_RIGHTX=2,
    )
    controllers = SimpleNamespace(
        init=lambda: None,
        get_count=lambda: 2,
        is_controller=lambda index: index == 1,
        Controller=lambda index: SimpleNamespace(get_axis=lambda axis: where[axis], index=index),
    )
    monkeypatch.setitem(sys.modules, "pygame", pygame)
    monkeypatch.setitem(sys.modules, "pygame._sdl2.controller", controllers)
    return where


def test_forward_and_left_are_positive(sticks):
    pad, dials = Gamepad(), Recorder()
    sticks[:] = [-32768, -32767, 16384]
    pad(dials)
    [(name, shares)] = dials.done
    assert name == "steer"
    assert shares == pytest.approx([1.0, -0.5, 1.0], abs=1e-3)


def test_a_stick_at_rest_lets_go_once(sticks):
    pad, dials = Gamepad(), Recorder()
    sticks[:] = [3000, -3000, 0]  # not quite in the middle
    pad(dials)
    assert dials.done == []
    sticks[1] = -32767
    pad(dials)
    pad(dials)
    sticks[1] = 0
    pad(dials)
    assert [shares[0] for _, shares in dials.done] == pytest.approx([1.0, 0.0])


def test_no_gamepad_is_said_in_one_line(sticks, monkeypatch):
    monkeypatch.setattr(sys.modules["pygame._sdl2.controller"], "get_count", lambda: 0)
    with pytest.raises(UserError, match="no gamepad is connected"):
        Gamepad()


def test_what_to_install_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(UserError, match="pip install pygame-ce"):
        Gamepad()
