import math
from types import SimpleNamespace

import numpy as np
import pytest

from stridelab.tracking.names import clean_key, clean_metrics, clean_params, flatten, shorten
from stridelab.tracking.trials import describe_trial, run_name


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("episode/return", "episode/return"),
        ("algorithm.learning_rate", "algorithm.learning_rate"),
        ("/reward//a b", "reward/a b"),
        ("reward/../x", "reward/_/x"),
        ("loss/µ=1%", "loss/__1_"),
        ("a:b", "a_b"),
        ("", "_"),
    ],
)
def test_clean_key(name, cleaned):
    assert clean_key(name) == cleaned


def test_long_keys_are_cut_and_stay_different():
    one, two = clean_key("x" * 300 + "1"), clean_key("x" * 300 + "2")
    assert len(one) == len(two) == 250
    assert one != two
    assert clean_key("x" * 250) == "x" * 250


def test_shorten_keeps_the_wanted_end():
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abcdef", 4, keep_end=True) == "…def"


def test_params_are_flat_and_written_as_in_yaml():
    params = clean_params(
        {
            "task": {"id": "walk", "rewards": {"up": 1.5}, "push": None, "off": {}},
            "seeds": [0, 1],
            "bf16": True,
        }
    )
    assert params == {
        "task.id": "walk",
        "task.rewards.up": "1.5",
        "task.push": "null",
        "task.off": "{}",
        "seeds": "[0, 1]",
        "bf16": "true",
    }
    assert len(clean_params({"x": "y" * 7000})["x"]) == 6000
    assert flatten({"a": {"b": {"c": 1}}}) == {"a.b.c": 1}


def test_metrics_outside_the_list_or_not_finite_are_left_out():
    kept, dropped = clean_metrics(
        {
            "episode/return": np.float32(2.5),
            "env_steps": 10,
            "loss/policy": math.nan,
            "loss/value": -math.inf,
            "time_total_s": 1.0,
            "training_iteration": 3,
            "config": {"lr": 1.0},
            "episode/name": "text",
            "eval/ok": True,
        }
    )
    assert kept == {"episode/return": 2.5, "env_steps": 10.0, "time_total_s": 1.0}
    assert dropped == ["loss/policy", "loss/value"]


@pytest.mark.parametrize(
    ("assignment", "seed", "name"),
    [
        ({"task.rewards": "v7"}, 1, "rewards=v7 seed=1"),
        ({"algorithm.learning_rate": 0.000312345}, None, "learning_rate=0.00031235"),
        ({"a.b.scale": 1, "a.c.scale": 2}, 0, "b.scale=1 c.scale=2 seed=0"),
        ({"scale": 1, "a.scale": 2}, None, "scale=1 a.scale=2"),
        ({"model.hidden": [64, 64]}, None, "hidden=[64,64]"),
        ({}, 3, "seed=3"),
    ],
)
def test_run_name(assignment, seed, name):
    assert run_name(assignment, seed) == name


def test_names_of_runs_that_differ_late_in_a_long_value_differ():
    one, two = ({"model": {"skills": "a" * 60, "gating": gating}} for gating in ("x", "y"))
    assert run_name(one) != run_name(two)
    assert run_name(one) == run_name(dict(one))
    assert run_name(one).startswith('model={"skills":"aaa')
    assert len(run_name(one)) == len("model=") + 40


def test_names_of_runs_with_close_values_differ():
    assert run_name({"gamma": 0.99421}) != run_name({"gamma": 0.99424})


def test_describe_trial_leaves_the_sweep_to_the_parent():
    config = {
        "experiment": {"task": {"id": "walk", "x": 1}, "seeds": [0, 1], "sweep": {"samples": 2}},
        "assignment": {"task.x": 2.0},
        "seed": 1,
    }
    info = describe_trial(SimpleNamespace(trial_id="t1", config=config))
    assert info.params == {"task.id": "walk", "task.x": 2.0, "seed": 1}
    assert info.run_name == "x=2 seed=1"
    assert info.tags == {"stridelab.assignment": '{"task.x": 2.0}', "stridelab.seed": "1"}


def test_describe_trial_without_a_config_is_named_by_its_id():
    assert describe_trial(SimpleNamespace(trial_id="t1", config={})).run_name == "t1"
