"""Importance of parameters where the truth is known."""

import numpy as np
import pytest

from stridelab.compare.collect import Group, History, Run
from stridelab.compare.importance import (
    forest_importance,
    rank_correlation,
    study_importance,
    swept_values,
)

NO_HISTORY = History(steps=np.array([]), seconds=np.array([]), values=np.array([]))


def group(assignment, params, score=0.0):
    run = Run(
        run_id="",
        name="",
        seed="0",
        score=score,
        metrics={},
        params={name: str(value) for name, value in params.items()},
        history=NO_HISTORY,
    )
    return Group(
        label=assignment,
        experiment="e",
        study="s",
        assignment=assignment,
        is_baseline=False,
        runs=(run,),
    )


def test_influential_before_irrelevant(grid):
    [study] = grid.importances
    assert (study.study, study.configurations, study.note) == ("grid", 12, "")
    first, second = study.parameters
    assert (first.name, second.name) == ("algorithm.learning_rate", "model.std.initial.head")
    assert first.importance > 0.5
    assert abs(second.importance) < 0.1
    assert first.trend == "higher is better (rank correlation +1.00)"
    assert second.trend == "no clear direction (rank correlation +0.00)"
    assert study.fit > 0.5


def test_shares_estimate_the_sobol_index():
    """Of y = 2a + b with equal variances, a causes 4/5 and b 1/5."""
    generator = np.random.default_rng(0)
    inputs = generator.uniform(size=(250, 3))
    scores = 2 * inputs[:, 0] + inputs[:, 1]
    shares, fit = forest_importance([inputs[:, [k]] for k in range(3)], scores)
    assert shares == pytest.approx([0.8, 0.2, 0.0], abs=0.15)
    assert fit > 0.9
    assert forest_importance([inputs[:, [k]] for k in range(3)], scores)[0] == shares


def test_categories_are_one_parameter():
    generator = np.random.default_rng(1)
    groups = []
    for index in range(24):
        kind, noise = "abc"[index % 3], generator.uniform()
        score = {"a": 0.0, "b": 5.0, "c": 1.0}[kind]
        params = {"model.activation": kind, "task.noise": noise}
        groups.append(group(f"activation={kind} noise={noise:.3g}", params, score))
    study = study_importance(groups)
    assert [item.name for item in study.parameters] == ["model.activation", "task.noise"]
    assert study.parameters[0].importance > 0.7
    assert study.parameters[0].trend == "best on average: b"
    assert study_importance(groups, mode="min").parameters[0].trend == "best on average: a"


def test_noise_is_called_noise():
    scores = np.random.default_rng(2).normal(size=10)
    groups = [
        group(f"x={i} y={i % 3}", {"a.x": i * 7 % 10, "a.y": i % 3}, score)
        for i, score in enumerate(scores)
    ]
    study = study_importance(groups)
    assert study.fit < 0.3
    assert "may be chance" in study.note


@pytest.mark.parametrize(
    ("groups", "note"),
    [
        ([group("x=1", {"a.x": 1}), group("x=2", {"a.x": 2})], "a.x is the only parameter"),
        ([group(f"x={i} y={i % 2}", {"x": i, "y": i % 2}) for i in range(7)], "7 config"),
        ([group(f"x={i} y={i % 2}", {"x": i, "y": i % 2}) for i in range(8)], "the same score"),
        ([group("left", {"x": 1}), group("right", {"x": 1})], "no parameter differs"),
    ],
)
def test_says_why_there_is_no_estimate(groups, note):
    study = study_importance(groups)
    assert study.parameters == ()
    assert note in study.note


def test_swept_values_are_those_that_assignments_name():
    def trial(preset, weight, rate):
        params = {
            "task.rewards.preset": preset,
            "task.rewards.upright": weight,
            "algorithm.learning_rate": rate,
            "algorithm.kind": "ppo",
            "seed": 0,
        }
        return group(f"rewards={preset} learning_rate={rate}", params)

    found = swept_values([trial("v6", 1, 0.1), trial("v7", 2, 0.1), trial("v7", 2, 0.2)])
    assert found == {
        "algorithm.learning_rate": ("0.1", "0.1", "0.2"),
        "task.rewards.preset": ("v6", "v7", "v7"),
    }


def test_what_always_changes_together_is_one():
    groups = [
        group(
            f"x={i} y={-i} z={i * i % 5} k={'ab'[i % 2]}",
            {"x": i, "y": -i, "z": i * i % 5, "k": "ab"[i % 2]},
        )
        for i in range(4)
    ]
    assert list(swept_values(groups)) == ["k", "x + y", "z"]


def test_sections_given_as_a_whole_are_found_below_their_name():
    groups = [group(f'std={{"min":{i}}}', {"model.std.min": i}) for i in (1, 2)]
    assert list(swept_values(groups)) == ["model.std.min"]


def test_rank_correlation():
    assert rank_correlation(np.array([1.0, 10.0, 100.0]), np.array([3.0, 2.0, 1.0])) == -1.0
    # ranks 1.5, 1.5, 3 and 1, 2, 3: covariance 0.75 over sqrt(1.5 * 2) * ... = sqrt(3) / 2
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        np.sqrt(3) / 2
    )
    assert rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.0
