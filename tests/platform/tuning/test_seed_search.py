"""A searcher that sees configurations: each runs under every seed and gets one score."""

import pickle

import pytest
from ray.tune.search import Searcher

from stridelab.experiment import SearchSpace
from stridelab.experiment.search_space import Space
from stridelab.tuning.seed_search import SeedSearch

METRIC = "episode/return"
SPACE = SearchSpace({"algorithm.gamma": Space("reverseloguniform", (0.5, 0.9))})


class Told(Searcher):
    """A searcher that suggests 0.5, 0.4, ... (as 1 - gamma) and remembers what it is told."""

    def __init__(self):
        super().__init__(metric=METRIC, mode="max")
        self.left = [0.5, 0.4, 0.3]
        self.told = {}

    def suggest(self, trial_id):
        return {"algorithm.gamma": self.left.pop(0)} if self.left else Searcher.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        assert trial_id not in self.told
        self.told[trial_id] = "failed" if error else result[METRIC]


def build(seeds=(5, 7, 9), *, aggregate="mean", baseline=False):
    return SeedSearch(
        Told(), SPACE, seeds, aggregate=aggregate, metric=METRIC, mode="max", baseline=baseline
    )


def suggested(search, *trial_ids):
    cases = [search.suggest(trial_id)["case"] for trial_id in trial_ids]
    return [(case["assignment"].get("algorithm.gamma"), case["seed"]) for case in cases]


def result(score, iteration=1):
    return {METRIC: score, "training_iteration": iteration}


def test_every_suggestion_runs_under_every_seed_in_the_experiments_terms():
    search = build()
    assert suggested(search, *"abcd") == [(0.5, 5), (0.5, 7), (0.5, 9), (0.6, 5)]


def test_the_searcher_is_told_the_mean_once():
    search = build()
    suggested(search, *"abc")
    search.on_trial_complete("b", result(3.0))
    search.on_trial_complete("a", result(1.0))
    assert search.searcher.told == {}
    search.on_trial_complete("c", result(8.0))
    assert search.searcher.told == {"a": 4.0}


def test_or_the_interquartile_mean():
    search = build(seeds=(0, 1, 2, 3), aggregate="iqm")
    suggested(search, *"abcd")
    for trial_id, score in zip("abcd", (1.0, 2.0, 4.0, 900.0), strict=True):
        search.on_trial_complete(trial_id, result(score))
    assert search.searcher.told == {"a": 3.0}


def test_seeds_are_compared_at_the_last_common_iteration():
    """A scheduler stopped them after two, three and four iterations."""
    search = build()
    suggested(search, *"abc")
    for trial_id, scores in {"a": (1, 2), "b": (10, 20, 30), "c": (100, 200, 300, 400)}.items():
        for iteration, score in enumerate(scores[:-1], start=1):
            search.on_trial_result(trial_id, result(float(score), iteration))
        search.on_trial_complete(trial_id, result(float(scores[-1]), len(scores)))
    assert search.searcher.told == {"a": pytest.approx((2 + 20 + 200) / 3)}


@pytest.mark.parametrize("score", [None, float("nan")])
def test_failed_and_scoreless_seeds_are_left_out(score):
    search = build()
    suggested(search, *"abc")
    search.on_trial_result("a", result(50.0))
    search.on_trial_complete("a", error=True)
    search.on_trial_complete("b", {"training_iteration": 3, METRIC: score})
    search.on_trial_complete("c", result(2.0))
    assert search.searcher.told == {"a": 2.0}


def test_a_configuration_without_any_score_has_failed():
    search = build(seeds=(0, 1))
    suggested(search, *"ab")
    search.on_trial_complete("a", error=True)
    search.on_trial_complete("b")
    assert search.searcher.told == {"a": "failed"}
    search.on_trial_complete("b", result(1.0))  # tried again by a resumed study
    assert search.searcher.told == {"a": "failed"}


def test_the_baseline_comes_first_and_is_nobodys_suggestion():
    search = build(seeds=(0, 1), baseline=True)
    assert suggested(search, *"abc") == [(None, 0), (None, 1), (0.5, 0)]
    search.on_trial_complete("a", result(1.0))
    search.on_trial_complete("b", result(1.0))
    assert search.searcher.told == {}


def test_it_ends_with_the_searcher():
    search = build(seeds=(0,))
    suggested(search, *"abc")
    assert search.suggest("d") == Searcher.FINISHED


def test_a_resumed_search_goes_on_in_the_middle_of_a_configuration():
    search = build()
    suggested(search, "a", "b")
    search.on_trial_complete("a", result(1.0))
    resumed = build()
    resumed.set_state(pickle.loads(pickle.dumps(search.get_state())))
    resumed.searcher.left = search.searcher.left  # Ray keeps the searcher below
    assert suggested(resumed, "c", "d") == [(0.5, 9), (0.6, 5)]
    resumed.on_trial_complete("b", result(2.0))
    resumed.on_trial_complete("c", result(6.0))
    assert resumed.searcher.told == {"a": 3.0}
