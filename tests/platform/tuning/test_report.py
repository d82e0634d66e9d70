"""The ranking of a study, without one."""

import json
import math
import re
from urllib.parse import parse_qsl

import numpy as np
import pytest

from stridelab.experiment import parse_experiment
from stridelab.tuning.notes import parallel_axes, study_note
from stridelab.tuning.outcomes import Outcome
from stridelab.tuning.report import (
    ablation_table,
    best_outcome,
    ranking,
    result_table,
    term_worths,
)
from stridelab.tuning.seed_search import configuration_key
from stridelab.tuning.storage import open_storage
from stridelab.tuning.study import StudyResult

GAMMA = "algorithm.gamma"


def outcome_of(assignment, seed, score, *, metric="episode/return", **more):
    """A trial that ended; a score that is no number is an error."""
    words = [f"without {k.split('.')[-1]}" if v is None else f"{v}" for k, v in assignment.items()]
    settings = {
        "assignment": assignment,
        "seed": seed,
        "label": " ".join(words) or "baseline",
        "metrics": {} if isinstance(score, str) else {metric: score},
        "curves": {"episode/return": (np.zeros(0), np.zeros(0))},
        "checkpoint": None,
        "run_id": f"{assignment.get(GAMMA)} {seed}",
        "error": score if isinstance(score, str) else None,
        "configuration": configuration_key(assignment),
    }
    return Outcome(**{**settings, **more})


def result_of(tree, outcomes):
    folder = open_storage("/tmp/study")
    return StudyResult(parse_experiment(tree), folder, "sqlite://", None, outcomes)


@pytest.fixture
def study(tiny):
    """Build a study of (gamma, seed, score) trials; a score that is no number is an error."""

    def build(*trials, **sweep):
        tree = tiny | {"sweep": {"parameters": {GAMMA: [0.8, 0.9]}, **sweep}}
        outcomes = [
            outcome_of({GAMMA: gamma}, seed, score, label=f"gamma={gamma:.3g}")
            for gamma, seed, score in trials
        ]
        return result_of(tree, outcomes)

    return build


def columns(result):
    table = result_table(result)
    return cells(table)


def cells(table):
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


def test_the_plain_mean_lets_a_lucky_seed_win(study):
    lucky = [(0.8, seed, score) for seed, score in enumerate((1.0, 2.0, 2.0, 99.0))]
    steady = [(0.9, seed, 3.0) for seed in range(4)]
    result = study(*lucky, *steady, aggregate="mean")
    assert ranking(result)[0][0] == "gamma=0.8"
    assert "mean over n seeds" in result_table(result).caption


def test_trials_that_a_stop_left_unfinished_are_not_ranked(study):
    result = study((0.8, 0, 1.0))
    result.outcomes.append(outcome_of({GAMMA: 0.9}, 0, 9.0, is_unfinished=True))
    assert [label for label, _ in ranking(result)] == ["gamma=0.8"]


class TestAblation:
    METRIC = "eval/survival_rate"

    @pytest.fixture
    def result(self, tiny):
        scores = {
            None: (0.9, 0.8),
            "task.rewards.upright": (0.2, 0.1),
            "task.rewards.foot_switch": (0.85, 0.95),
            "task.randomization.joint_pos": (0.8, 0.6),
        }
        tree = tiny | {
            "seeds": [0, 1],
            "ablation": {
                "metric": self.METRIC,
                "rewards": ["upright", "foot_switch"],
                "randomization": "all",
            },
        }
        outcomes = [
            outcome_of({} if key is None else {key: None}, seed, score, metric=self.METRIC)
            for key, values in scores.items()
            for seed, score in enumerate(values)
        ]
        return result_of(tree, outcomes)

    def test_the_greatest_loss_comes_first(self, result):
        worths = term_worths(result)
        assert [worth.label for worth in worths] == [
            "without upright",
            "without joint_pos",
            "without foot_switch",
        ]
        assert [worth.loss.point for worth in worths] == pytest.approx([0.7, 0.15, -0.05])
        # All seeds with the term score at least 0.8, without it at most 0.2 ...
        assert worths[0].loss.low == pytest.approx(0.6)
        assert worths[0].loss.high == pytest.approx(0.8)
        # ... and nothing is sure of a term without which one seed is better, one worse.
        assert worths[2].loss.low < 0.0 < worths[2].loss.high
        assert worths[0].values == pytest.approx((0.65, 0.75))

    def test_table(self, result):
        shown = cells(ablation_table(result))
        assert shown["switched off"] == ["nothing", "upright", "joint_pos", "foot_switch"]
        assert shown["loss"][0] == ""
        assert shown["loss"][1] == "0.7  [0.6, 0.8]"
        assert shown["n"] == ["2"] * 4

    def test_less_is_better(self, result):
        tree = result.experiment.to_dict()
        tree["ablation"]["mode"] = "min"
        worths = term_worths(result_of(tree, result.outcomes))
        assert worths[0].label == "without foot_switch"
        assert worths[0].loss.point == pytest.approx(0.05)

    def test_without_the_trials_with_all_terms_nothing_is_told(self, result):
        result.outcomes[:] = [outcome for outcome in result.outcomes if outcome.assignment]
        assert term_worths(result) == []
        assert cells(ablation_table(result))["switched off"] == []


class TestPreparedComparison:
    def test_axes_are_what_differs_and_the_score(self, tiny):
        space = {
            "algorithm.learning_rate": {"loguniform": [1e-4, 1e-2]},
            "task.randomization.joint_pos": {"choice": [None, {}]},
            "algorithm.num_epochs": {"choice": [2]},
        }
        outcomes = [
            outcome_of(
                {
                    "algorithm.learning_rate": rate,
                    "task.randomization.joint_pos": push,
                    "algorithm.num_epochs": 2,
                },
                seed,
                score,
            )
            for rate, push, seed, score in [
                (1e-3, None, 0, 1.0),
                (1e-3, None, 1, 3.0),
                (1e-4, {}, 0, 5.0),
            ]
        ]
        axes = parallel_axes(result_of(tiny | {"sweep": {"parameters": space}}, outcomes))
        assert [axis.label for axis in axes] == [
            "algorithm.learning_rate",
            "randomization.joint_pos",
            "episode/return",
        ]
        assert [axis.values for axis in axes] == [(1e-4, 1e-3), ("{}", None), (5.0, 2.0)]
        assert [axis.log for axis in axes] == [True, False, False]

    def test_presets_stand_for_the_weights_that_differ(self, tiny):
        sweep = {"parameters": {"task.rewards": {"presets": ["v6", "v7"]}}}
        outcomes = [
            outcome_of({"task.rewards": name}, 0, score)
            for name, score in (("v6", 1.0), ("v7", 2.0))
        ]
        result = result_of(tiny | {"sweep": sweep}, outcomes)
        axes = {axis.label: axis.values for axis in parallel_axes(result)}
        first, second = (
            parse_experiment(tiny | {"sweep": None}).with_values({"task.rewards": name})
            for name in ("v7", "v6")  # the best first
        )
        weights = first.task_config().reward_weights(), second.task_config().reward_weights()
        differ = {name for name in weights[0] if weights[0][name] != weights[1][name]}
        assert differ
        assert axes.keys() == {f"rewards.{name}" for name in differ} | {"episode/return"}
        for name in differ:
            assert axes[f"rewards.{name}"] == (weights[0][name], weights[1][name])

    def test_note(self, study):
        note = study_note(study((0.8, 0, 1.25), (0.9, 0, 5.0), (0.9, 1, 7.0)), "3")
        assert "| gamma=0.9 | 6 [5, 7] | 2 |" in note
        assert note.index("gamma=0.9") < note.index("gamma=0.8")
        assert "parameters `algorithm.gamma`, metric `episode/return`" in note
        assert "stridelab compare study --metric episode/return" in note
        [link] = re.findall(r"\]\(#/compare-runs\?(.*?)\)", note)
        query = dict(parse_qsl(link))
        assert json.loads(query["runs"]) == ["0.9 0", "0.9 1", "0.8 0"]
        assert json.loads(query["experiments"]) == ["3"]

    def test_a_note_without_an_experiment_has_no_link(self, study):
        assert "#/compare-runs" not in study_note(study((0.8, 0, 1.25), (0.9, 0, 5.0)), "")
