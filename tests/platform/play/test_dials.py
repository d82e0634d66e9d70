"""Commands by hand: dials, notches, sticks."""

from types import SimpleNamespace

import pytest
import torch

from stridelab.play.dials import CommandDials
from stridelab_envs.mdp.commands import Command, ExternalCommand
from stridelab_envs.registry import get_task, make_env

RANGES = {"lin_vel_x": [-0.5, 1.0], "lin_vel_y": [-0.4, 0.4], "ang_vel_z": [-0.8, 0.8]}


def make_state():
    state = SimpleNamespace(
        num_envs=2, dt=0.02, generator=torch.Generator().manual_seed(0), commands={}
    )
    state.commands["velocity"] = Command(state, ranges=RANGES, resampling_time=[1.0, 1.0])
    state.commands["height"] = Command(
        state, ranges={"height": [0.6, 0.9]}, resampling_time=[1.0, 1.0]
    )
    state.commands["told"] = ExternalCommand(state, ranges={"a": [0.0, 1.0]})
    for command in state.commands.values():
        command.reset(state, torch.arange(2))
    return state


@pytest.fixture
def dials():
    return CommandDials(SimpleNamespace(state=make_state()))


def commands(dials):
    return dials._state.commands


def test_walking_comes_first_and_every_number_has_a_dial(dials):
    labels = [dial.label for dial in dials.dials]
    assert labels == [
        "velocity.lin_vel_x",
        "velocity.ang_vel_z",
        "velocity.lin_vel_y",
        "height.height",
    ]
    bounds = [(round(dial.low, 6), round(dial.high, 6)) for dial in dials.dials]
    assert bounds == [(-0.5, 1.0), (-0.8, 0.8), (-0.4, 0.4), (0.6, 0.9)]


def test_one_command_needs_no_name_before_its_columns():
    env = make_env(get_task("h1_walk").for_evaluation(), num_envs=1, seed=0, num_threads=1)
    dials = CommandDials(env)
    assert [dial.label for dial in dials.dials] == ["lin_vel_x", "ang_vel_z", "lin_vel_y"]
    assert dials.dials[0].low < -0.1  # the final range, not that of the curriculum's start


def test_a_task_without_commands_has_no_dials():
    env = make_env(get_task("biped_walk"), num_envs=1, seed=0, num_threads=1)
    dials = CommandDials(env)
    assert dials.dials == ()
    dials.nudge(0, 1)
    dials.rest()
    dials.release()


def test_a_turned_dial_holds_the_rest_of_its_command(dials):
    drawn = dials.values
    dials.turn({0: 0.25})
    assert dials.values == pytest.approx([0.25, *drawn[1:]])
    assert dials.by_hand == [True, True, True, False]
    command = commands(dials)["velocity"]
    for _ in range(200):  # four times the time that a drawn command is held
        command.tick(dials._state)
        command.advance(dials._state)
    command.reset(dials._state, torch.tensor([0]))
    assert dials.values[:3] == pytest.approx([0.25, *drawn[1:3]])
    assert command.value[1].tolist() == pytest.approx(command.value[0].tolist())


def test_ranges_limit_what_is_told(dials):
    dials.turn({0: 7.0, 3: 0.0})
    assert dials.values[0] == 1.0
    assert dials.values[3] == pytest.approx(0.6)


def test_notches_are_a_tenth_and_lead_back_to_zero(dials):
    dials.rest()
    assert dials.values == pytest.approx([0.0, 0.0, 0.0, 0.6])
    for _ in range(3):
        dials.nudge(0, 1)
    assert dials.values[0] == pytest.approx(0.3)
    for _ in range(3):
        dials.nudge(0, -1)
    assert dials.values[0] == 0.0
    for _ in range(12):
        dials.nudge(1, -1)
    assert dials.values[1] == pytest.approx(-0.8)
    dials.nudge(17, 1)  # a key for which this task has no dial


def test_sticks_go_from_one_end_to_the_other(dials):
    dials.steer([1.0, -0.5, 0.0])
    assert dials.values[:3] == pytest.approx([1.0, -0.4, 0.0])
    dials.steer([-1.0, 0.0, 0.0])
    assert dials.values[:3] == pytest.approx([-0.5, 0.0, 0.0])
    assert dials.by_hand[3] is False


def test_released_commands_are_drawn_again(dials):
    dials.turn({0: 0.25})
    dials.release()
    assert dials.by_hand == [False] * 4
    command = commands(dials)["velocity"]
    assert command.value[0].tolist() != pytest.approx(command.value[1].tolist())
