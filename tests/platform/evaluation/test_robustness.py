"""Robustness grids: environments get the numbers of their cell, cells are averaged apart."""

import math

import pytest
import torch

from stridelab.evaluation import robustness as module
from stridelab.evaluation.robustness import axes_of, missing_terms, robustness, steps_of
from stridelab_envs.errors import UserError
from stridelab_envs.mdp import model_randomization, randomization
from stridelab_envs.registry import get_task, make_env

TWO_EACH = {"push": [1.0, 0.0], "friction": [0.4, 0.8], "payload": [0.0, 0.5]}


@pytest.fixture
def task(tiny_experiment):
    return tiny_experiment().task_config()


def stand(env):
    return lambda obs: torch.zeros(env.num_envs, env.action_dim)


def test_a_task_without_the_terms_gets_them_and_a_line_each(tiny_env):
    axes = axes_of(tiny_env, {})
    assert [(axis.name, axis.key, axis.own) for axis in axes] == [
        ("push", "push", False),
        ("friction", "friction", False),
        ("payload", "payload", False),
    ]
    mass = float(tiny_env.sim.model.body_mass.sum())
    assert axes[2].values == (0.0, float(f"{0.1 * mass:.2g}"), float(f"{0.2 * mass:.2g}"))
    assert list(missing_terms(tiny_env.task, axes)) == [
        "task biped_walk does not randomise push: pushed every 3 to 5 s here",
        "task biped_walk does not randomise friction: the friction of all geoms is set here",
        "task biped_walk does not randomise payload: the base carries it here",
    ]


def test_own_terms_are_found_by_what_they_do():
    env = make_env(get_task("x1_walk"), num_envs=1, seed=0, num_threads=1)
    axes = axes_of(env, {"push": [0.5, 0.5, 0.0]})
    assert [axis.key for axis in axes] == ["push", "friction", "base_mass"]
    assert axes[0].values == (0.0, 0.5)  # sorted, each once
    assert [axis.term.func for axis in axes] == [
        model_randomization.growing_push,
        model_randomization.friction_with_ground,
        randomization.payload,
    ]
    assert list(missing_terms(env.task, axes)) == []


def test_each_environment_has_the_numbers_of_its_cell(task, tiny_env, monkeypatch):
    """Eight cells of two episodes; friction and mass are read back from the simulations."""
    envs = []

    def watched(act, env, on_step):
        envs.append(env)
        return {"episode/fell": torch.arange(16.0)}

    monkeypatch.setattr(module, "first_episodes", watched)
    axes = axes_of(tiny_env, TWO_EACH)
    grid = robustness(stand, task, axes, episodes=2, seed=3, num_threads=1)
    (env,) = envs
    friction = env.sim.model_field("geom_friction")[:, 0, 0].tolist()
    assert friction == pytest.approx([0.4] * 4 + [0.8] * 4 + [0.4] * 4 + [0.8] * 4)
    base = env.sim.model.body(env.robot.base_body).id
    added = env.sim.model_field("body_mass")[:, base] - env.sim.model.body_mass[base]
    assert added.tolist() == pytest.approx([0.0, 0.0, 0.5, 0.5] * 4)
    # The mean of 0 and 1 fell in the first cell, of 2 and 3 in the second, ...
    survival = 1.0 - torch.arange(0.5, 16.0, 2.0).reshape(2, 2, 2)
    assert torch.equal(grid.values("episode/survival_rate"), survival)
    assert grid.cells[1]["push"] == 0.0
    assert grid.cells[1]["payload"] == 0.5
    assert grid.axes["push"] == (0.0, 1.0)


def test_pushes_are_as_strong_as_the_cell_says(task, tiny_env):
    axes = axes_of(tiny_env, TWO_EACH)
    graded = module._graded_task(task, axes, torch.tensor([[0, 0, 0], [1, 0, 0]]))
    env = make_env(graded, num_envs=2, seed=0, num_threads=1)
    before = env.sim.qvel.clone()
    term = graded.randomization["push"]
    term.func(env.state, torch.tensor([0, 1]), **term.params)
    change = (env.sim.qvel - before).abs()
    assert not change[0].any()
    assert (change[1, :2] > 0.0).all()
    assert (change[1, :2] <= 1.0).all()
    assert change[1, 3:6].max() <= 2.0


def test_many_cells_take_several_runs_and_count_every_step(task, tiny_env, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ENVS", 2)
    axes = axes_of(tiny_env, {"push": [0.0], "friction": [0.5, 1.0, 1.5], "payload": [0.0]})
    steps = []
    grid = robustness(
        stand, task, axes, episodes=1, seed=0, num_threads=1, on_step=lambda: steps.append(1)
    )
    assert len(grid.cells) == 3
    assert len(steps) == steps_of(task, axes, 1) == 2 * 10
    assert grid.values("episode/survival_rate").tolist() == [[[1.0], [1.0], [1.0]]]
    assert grid.added == ("push", "friction", "payload")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("push", -0.1, "--push: must be finite and at least 0, got -0.1"),
        ("friction", math.nan, "--friction: must be finite and at least 0, got nan"),
        ("payload", -100.0, "--payload: must be finite and above -"),
    ],
)
def test_values_out_of_range_are_one_line(tiny_env, name, value, line):
    with pytest.raises(UserError, match=line):
        axes_of(tiny_env, {name: [value]})
