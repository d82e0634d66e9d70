"""The ranking of a study, without one."""

import math
from pathlib import Path

import numpy as np
import pytest

from stridelab.experiment import parse_experiment
from stridelab.tuning.report import best_outcome, ranking, result_table
from stridelab.tuning.study import Outcome, StudyResult

GAMMA = "algorithm.gamma"


@pytest.fixture
def study(tiny):
    """Build a study of (gamma, seed, score) trials; a score that is no number is an error."""

    def build(*trials, mode="max"):
        tree = tiny | {"sweep": {"parameters": {GAMMA: [0.8, 0.9]}, "mode": mode}}
        outcomes = [
            Outcome(
                assignment={GAMMA: gamma},
                seed=seed,
                label=f"gamma={gamma:.3g}",
                metrics={} if isinstance(score, str) else {"episode/return": score},
                curves={"episode/return": (np.zeros(0), np.zeros(0))},
                checkpoint=None,
                run_id=f"{gamma} {seed}",
                error=score if isinstance(score, str) else None,
            )
            for gamma, seed, score in trials
        ]
        return StudyResult(parse_experiment(tree), Path("study"), "sqlite://", None, outcomes)

    return build


def columns(result):
    table = result_table(result)
    return {str(column.header): list(column.cells) for column in table.columns}


def test_seeds_of_a_configuration_are_one_row(study):
    result = study((0.8, 0, 1.0), (0.8, 1, 3.0), (0.9, 0, 5.0), (0.9, 1, 7.0))
    ranked = ranking(result)
    assert [label for label, _ in ranked] == ["gamma=0.9", "gamma=0.8"]
    assert [[o.seed for o in outcomes] for _, outcomes in ranked] == [[0, 1], [0, 1]]
    assert best_outcome(result).run_id == "0.9 1"


def test_less_is_better(study):
    result = study((0.8, 0, 1.0), (0.8, 1, 3.0), (0.9, 0, 5.0), mode="min")
    assert ranking(result)[0][0] == "gamma=0.8"
    assert best_outcome(result).run_id == "0.8 0"


def test_a_configuration_is_ranked_by_the_middle_of_its_seeds(study):
    """One lucky seed does not win: the interquartile mean of 1, 2, 2, 99 is 2."""
    lucky = [(0.8, seed, score) for seed, score in enumerate((1.0, 2.0, 2.0, 99.0))]
    steady = [(0.9, seed, 3.0) for seed in range(4)]
    result = study(*lucky, *steady)
    assert [label for label, _ in ranking(result)] == ["gamma=0.9", "gamma=0.8"]
    assert best_outcome(result).label == "gamma=0.9"


@pytest.mark.parametrize("score", [math.nan, math.inf, "actor died"])
def test_trials_without_a_score_are_left_out(study, score):
    result = study((0.8, 0, 1.0), (0.8, 1, score), (0.9, 0, score))
    assert [(label, len(outcomes)) for label, outcomes in ranking(result)] == [("gamma=0.8", 1)]


def test_nothing_finished(study):
    result = study((0.8, 0, "actor died"))
    assert ranking(result) == []
    assert best_outcome(result) is None
    assert columns(result)["configuration"] == []


def test_values_that_print_alike_are_different_configurations(study):
    """Draws from a range: 0.90041 and 0.90043 are both "0.9", and no seeds of each other."""
    result = study((0.90041, 0, 1.0), (0.90043, 0, 3.0))
    ranked = ranking(result)
    assert [len(outcomes) for _, outcomes in ranked] == [1, 1]
    assert len({label for label, _ in ranked}) == 2


def test_table(study):
    shown = columns(study((0.8, 0, 1.25), (0.9, 0, 5.0), (0.9, 1, 7.0)))
    assert shown["configuration"] == ["gamma=0.9", "gamma=0.8"]
    assert shown["n"] == ["2", "1"]
    score = shown["score"]
    assert score[0].startswith("6  [")  # the mean of two
    assert score[1] == "1.25  [1.25, 1.25]"
    assert shown["return"] == ["6", "1.25"]
    assert "survival" not in shown  # nothing was evaluated
