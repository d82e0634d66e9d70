"""A user's changes of commands, of repeated random changes, and tasks as they are evaluated."""

from dataclasses import replace

import pytest

from stridelab_envs.errors import ConfigError
from stridelab_envs.registry import get_task, task_ids


@pytest.fixture
def walk():
    return get_task("h1_walk")


def params(task):
    return task.commands["velocity"].params


def test_some_ranges_change_and_the_others_stay(walk):
    changed = walk.with_overrides(
        {
            "commands": {
                "velocity": {
                    "ranges": {"lin_vel_x": [0, 0.8]},
                    "resampling_time": [2, 4],
                    "curriculum": False,
                }
            }
        }
    )
    assert params(changed)["ranges"] == {
        "lin_vel_x": [0.0, 0.8],
        "lin_vel_y": [-1.0, 1.0],
        "ang_vel_z": [-1.0, 1.0],
    }
    assert params(changed)["resampling_time"] == [2.0, 4.0]
    assert params(changed)["curriculum"] is False
    assert params(changed)["start_ranges"] == params(walk)["start_ranges"]
    assert params(walk)["ranges"]["lin_vel_x"] == [-1.0, 1.0]
    assert walk == get_task("h1_walk")


def test_a_command_may_be_one_number(walk):
    still = {"ranges": {"lin_vel_y": [0, 0]}, "resampling_time": [3, 3]}
    changed = walk.with_overrides({"commands": {"velocity": still}})
    assert params(changed)["ranges"]["lin_vel_y"] == [0.0, 0.0]


def test_the_changed_ranges_are_those_that_are_drawn(make_h1):
    still = {"ranges": {"height": [0.8, 0.8]}, "resampling_time": [0.06, 0.06]}
    env = make_h1("h1_squat", {"commands": {"height": still}})
    command = env.state.commands["height"]
    assert command.value.tolist() == [[pytest.approx(0.8)]] * 2
    assert command.time_left.tolist() == pytest.approx([0.06] * 2)


def test_interval_of_pushes(walk):
    changed = walk.with_overrides({"randomization": {"push": {"interval_s": [1, 1], "linear": 1}}})
    push = changed.randomization["push"]
    assert push.interval_s == (1.0, 1.0)
    assert push.params == {"linear": 1.0, "angular": 0.4}
    assert changed.randomization["payload"] == walk.randomization["payload"]
    off = walk.with_overrides({"randomization": {"push": None}})
    assert list(off.randomization) == [name for name in walk.randomization if name != "push"]


def test_delay_and_noise_of_actions(walk):
    changed = walk.with_overrides({"action_delay": 0, "action_noise": 0.1})
    assert (changed.action_delay, changed.action_noise) == (0.0, 0.1)


def velocity(**settings):
    return {"commands": {"velocity": settings}}


PUSH = "randomization.push"
WRONG = {
    "unknown command": (
        {"commands": {"velocty": {}}},
        "commands.velocty",
        'unknown command "velocty"; did you mean "velocity"?',
    ),
    "a command switched off": (
        {"commands": {"velocity": None}},
        "commands.velocity",
        "cannot be switched off",
    ),
    "unknown setting": (
        velocity(resampling=[1, 2]),
        "commands.velocity.resampling",
        'did you mean "resampling_time"',
    ),
    "unknown range": (
        velocity(ranges={"lin_vel_z": [0, 1]}),
        "commands.velocity.ranges.lin_vel_z",
        'unknown range "lin_vel_z"',
    ),
    "ranges are a list": (velocity(ranges=[0, 1]), "commands.velocity.ranges", "mapping"),
    "range is a number": (
        velocity(ranges={"lin_vel_x": 1.0}),
        "commands.velocity.ranges.lin_vel_x",
        "must be [low, high], got 1.0",
    ),
    "range upside down": (
        velocity(ranges={"lin_vel_x": [1, -1]}),
        "commands.velocity.ranges.lin_vel_x",
        "low must be below high, got [1, -1]",
    ),
    "range of three": (
        velocity(ranges={"lin_vel_x": [0, 1, 2]}),
        "commands.velocity.ranges.lin_vel_x",
        "[low, high]",
    ),
    "time is negative": (
        velocity(resampling_time=[-1, 2]),
        "commands.velocity.resampling_time",
        "greater than 0",
    ),
    "time is zero": (
        velocity(resampling_time=[0, 2]),
        "commands.velocity.resampling_time",
        "greater than 0",
    ),
    "flag is a number": (velocity(curriculum=1), "commands.velocity.curriculum", "True"),
    "interval is zero": (
        {"randomization": {"push": {"interval_s": [0, 2]}}},
        f"{PUSH}.interval_s",
        "greater than 0",
    ),
    "interval upside down": (
        {"randomization": {"push": {"interval_s": [5, 3]}}},
        f"{PUSH}.interval_s",
        "low must be below high",
    ),
    "interval of what happens at the start": (
        {"randomization": {"friction": {"interval_s": [1, 2]}}},
        "randomization.friction.interval_s",
        'unknown parameter "interval_s" (known: high, low)',
    ),
    "delay above one": ({"action_delay": 1.5}, "action_delay", "at most 1"),
    "noise is negative": ({"action_noise": -0.1}, "action_noise", "at least 0"),
}


@pytest.mark.parametrize(("overrides", "path", "hint"), WRONG.values(), ids=WRONG)
def test_wrong_value(walk, overrides, path, hint):
    with pytest.raises(ConfigError) as error:
        walk.with_overrides(overrides)
    assert error.value.path == path
    assert hint in error.value.message
    assert "\n" not in str(error.value)


def test_evaluation_knows_no_curriculum(walk, make_h1):
    evaluated = walk.for_evaluation()
    assert params(evaluated) == {**params(walk), "curriculum": False}
    assert params(walk)["curriculum"] is True
    ranges = []
    for change in (None, lambda task: task.for_evaluation()):
        command = make_h1("h1_walk", change=change).state.commands["velocity"]
        ranges.append([command.low.tolist(), command.high.tolist()])
    start, whole = ranges
    assert start == [pytest.approx([0.2, 0.0, 0.0]), pytest.approx([1.0, 0.0, 0.0])]
    assert whole == [[-1.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("task_id", task_ids())
def test_evaluation_changes_nothing_but_curricula(task_id):
    task = get_task(task_id)
    evaluated = task.for_evaluation()
    tables = {}
    for name in ("commands", "randomization"):
        own = {key: dict(term.params) for key, term in getattr(task, name).items()}
        tables[name] = getattr(evaluated, name)
        for key, term in tables[name].items():
            assert not term.params.get("curriculum", False)
            assert term.params.keys() == own[key].keys()
            assert {k for k in own[key] if own[key][k] != term.params[k]} <= {"curriculum"}
    assert replace(task, **tables) == evaluated
