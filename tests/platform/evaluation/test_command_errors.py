"""Maps of errors by what was commanded, on commands and errors made up by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stridelab.evaluation.command_errors import FALLS, CommandWatch
from stridelab_envs.errors import UserError
from stridelab_envs.mdp.terms import CommandTerm, StateTerm
from stridelab_envs.registry import get_task

NAN = float("nan")


def watched(metrics, columns=("height",), low=(0.0,), high=(8.0,)):
    """A watch on made-up metrics, and a function that makes a step of 0.6 s."""
    command = SimpleNamespace(names=columns, low=torch.tensor(low), high=torch.tensor(high))
    task = get_task("h1_squat")
    object.__setattr__(task, "commands", {"c": CommandTerm(func=lambda state: None)})
    object.__setattr__(task, "metrics", metrics)
    watch = CommandWatch(task)

    def step(value, errors, *, fell=False, number=1):
        command.value = torch.tensor(value)
        state = SimpleNamespace(
            commands={"c": command},
            dt=0.6,
            max_episode_steps=3,
            episode_step=torch.full((len(value),), number),
            terminated=torch.full((len(value),), fell),
        )
        state.error = torch.tensor(errors)
        for term in watch.task.metrics.values():
            assert term.func(state, **term.params) is state.error

    return watch, step


def metric(**settings):
    return StateTerm(func=lambda state, command: state.error, params={"command": "c"}, **settings)


def test_errors_fall_into_the_bins_of_their_commands():
    watch, step = watched({"height_error": metric(), "other": metric()})
    step([[0.5], [7.5], [7.9]], [0.1, 0.2, NAN])
    step([[0.5], [7.5], [7.9]], [0.3, NAN, 0.6], fell=True)
    errors = watch.errors(episodes=3, seed=5)
    height, falls = errors.maps  # "other" is no error
    assert (height.metric, height.columns, height.command) == ("height_error", ("height",), "c")
    np.testing.assert_allclose(height.edges, [np.arange(9.0)])
    assert height.count == [2, 0, 0, 0, 0, 0, 0, 2]
    assert height.mean[0] == pytest.approx(0.2)
    assert height.mean[7] == pytest.approx(0.4)
    assert np.isnan(height.mean[1:7]).all()
    # Two steps of 0.6 s are 0.02 min; one robot fell in the first bin, two in the last.
    assert falls.metric == FALLS
    assert falls.count[0] == pytest.approx(0.02)
    assert falls.mean[0] == pytest.approx(50.0)
    assert falls.mean[7] == pytest.approx(2 / 0.04)
    assert errors.record()["maps"][0]["count"][0] == 2


def test_columns_go_in_pairs_and_one_that_never_changes_is_left_out():
    names = ("x", "y", "fixed", "yaw")
    watch, step = watched({"error": metric()}, names, (-1.0, -1.0, 2.0, 0.0), (1.0, 1.0, 2.0, 1.0))
    step([[-1.0, 1.0, 2.0, 0.0], [1.0, -1.0, 2.0, 1.5]], [1.0, 3.0])
    maps = watch.errors(episodes=2, seed=0).maps
    assert [found.columns for found in maps if found.metric == "error"] == [("x", "y"), ("yaw",)]
    mean = np.array(maps[0].mean)
    assert (mean[0, 5], mean[5, 0]) == (1.0, 3.0)
    assert np.isfinite(mean).sum() == 2
    assert maps[2].edges[0][-1] == 1.5  # commanded beyond its range


def test_of_a_last_value_only_the_last_step_counts():
    watch, step = watched({"error": metric(over_episode="last")})
    step([[1.5], [2.5]], [9.0, 9.0])
    step([[1.5], [2.5]], [1.0, 2.0], number=3)
    assert watch.errors(episodes=2, seed=0).maps[0].count == [0, 1, 1, 0, 0, 0, 0, 0]


def test_a_task_without_commands_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"^task biped_walk has no command: there are no command"):
        CommandWatch(get_task("biped_walk"))
