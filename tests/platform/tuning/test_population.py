"""How populations change values: inside the search space, on its own scales."""

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from stridelab.experiment import SearchSpace
from stridelab.experiment.search_space import Space
from stridelab.tuning.population import Explore, PopulationBandit
from stridelab.tuning.schedulers import ResumableHyperBand, build_scheduler

METRIC = "episode/return"


def explored(space, value, *, times=200, resample=0.0, factors=(2.0, 0.5)):
    """Values after one change each."""
    explore = Explore(
        SearchSpace({"a.b": space}), resample_probability=resample, factors=factors, seed=0
    )
    config = {"case": {"assignment": {"a.b": value}, "seed": 3}, "cpus": 1.0}
    changed = [explore(config) for _ in range(times)]
    assert config["case"]["assignment"] == {"a.b": value}
    assert all(one["cpus"] == 1.0 and one["case"]["seed"] == 3 for one in changed)
    return [one["case"]["assignment"]["a.b"] for one in changed]


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (Space("uniform", (0.0, 10.0)), 4.0, {2.0, 8.0}),
        (Space("uniform", (-10.0, 10.0)), -4.0, {-2.0, -8.0}),
        (Space("uniform", (3.0, 5.0)), 4.0, {3.0, 5.0}),  # 2 and 8 would be outside
        (Space("loguniform", (1e-4, 1e-1)), 1e-3, {5e-4, 2e-3}),
        (Space("randint", (1, 9)), 1, {1, 2}),
        (Space("randint", (1, 100)), 8, {4, 16}),
        (Space("power_of_two", (2, 256)), 16, {4, 256}),  # exponents 2 and 8
        (Space("choice", ("a", "b", "c")), "b", {"a", "c"}),
        (Space("choice", ("a", "b", "c")), "a", {"a", "b"}),
        (Space("quniform", (0.0, 1.0, 0.25)), 0.25, {0.0, 0.5}),
    ],
)
def test_values_move_on_their_own_scale(space, value, expected):
    found = sorted(set(explored(space, value)))
    assert found == (
        sorted(expected) if space.kind == "choice" else pytest.approx(sorted(expected))
    )


def test_gamma_moves_by_its_distance_from_one():
    """Times two would leave 0.9 to 0.999 altogether; twice as far from 1 does not."""
    values = set(explored(Space("reverseloguniform", (0.9, 0.999)), 0.98))
    assert sorted(values) == pytest.approx([0.96, 0.99])


def test_a_whole_number_never_stands_still_for_rounding():
    assert set(explored(Space("randint", (1, 100)), 2, factors=(1.2, 0.8))) == {1, 3}


def test_drawing_anew():
    values = explored(Space("uniform", (0.0, 10.0)), 4.0, resample=1.0, times=500)
    assert min(values) < 1.0
    assert max(values) > 9.0
    assert len(set(values)) == 500


def test_what_is_off_may_come_on_again():
    space = Space("uniform", (1.0, 2.0), optional=True)
    values = explored(space, None)
    assert None in values
    assert any(value is not None and 1.0 <= value <= 2.0 for value in values)


class FakeTrial:
    def __init__(self, member, gamma, status="RUNNING"):
        self.trial_id = f"t{member}"
        self.status = status
        self.config = {
            "experiment": {"task": {"terminations": {}}},
            "case": {
                "assignment": {"algorithm.gamma": gamma, "algorithm.entropy_coef": 1e-2},
                "seed": 0,
                "member": member,
            },
        }

    def is_finished(self):
        return self.status == "TERMINATED"


class TestBandit:
    SPACE = SearchSpace(
        {
            "algorithm.gamma": Space("reverseloguniform", (0.9, 0.999)),
            "algorithm.entropy_coef": Space("loguniform", (1e-4, 1e-1)),
        }
    )

    def test_it_searches_logarithms(self):
        bandit = PopulationBandit(self.SPACE, perturbation_interval=1)
        bounds = bandit._hyperparam_bounds["case"]["coordinates"]
        assert bounds["algorithm.gamma"] == pytest.approx(np.log([1e-3, 0.1]).tolist())
        assert bounds["algorithm.entropy_coef"] == pytest.approx(np.log([1e-4, 0.1]).tolist())

    def test_its_choice_becomes_values_of_the_experiment(self, monkeypatch):
        bandit = PopulationBandit(self.SPACE, perturbation_interval=1)
        donor, taker = FakeTrial(0, 0.99), FakeTrial(1, 0.9)
        for trial in (donor, taker):
            trial.config["case"]["coordinates"] = bandit._coordinates(
                trial.config["case"]["assignment"]
            )
        chosen = {"algorithm.gamma": float(np.log(0.02)), "algorithm.entropy_coef": 5.0}

        def choose(self, trial, trial_to_clone):  # Ray's choice, beyond the bounds for once
            return {"case": {"coordinates": chosen}}, {}

        monkeypatch.setattr("ray.tune.schedulers.pb2.PB2._get_new_config", choose)
        config, _ = bandit._get_new_config(taker, donor)
        assert config["case"]["assignment"] == pytest.approx(
            {"algorithm.gamma": 0.98, "algorithm.entropy_coef": 0.1}
        )
        assert config["case"]["member"] == 1
        assert config["case"]["cloned_from"] == 0
        # Empty mappings, which Ray loses on the way, are still there.
        assert config["experiment"] == donor.config["experiment"]
        assert donor.config["case"]["assignment"]["algorithm.gamma"] == 0.99


class TestHyperBand:
    def build(self):
        scheduler = ResumableHyperBand(time_attr="training_iteration", max_t=9)
        scheduler.set_search_properties(METRIC, "max")
        return scheduler

    def test_ended_trials_of_a_resumed_study_hold_nobody_up(self):
        scheduler = self.build()
        scheduler.on_trial_add(None, FakeTrial(0, 0.9, status="TERMINATED"))
        running = FakeTrial(1, 0.9)
        scheduler.on_trial_add(None, running)
        [[bracket]] = scheduler._hyperbands
        assert bracket.current_trials() == [running]

    def test_a_result_without_the_metric_counts_as_the_worst(self):
        scheduler = self.build()
        trials = [FakeTrial(member, 0.9) for member in range(2)]
        for trial in trials:
            scheduler.on_trial_add(None, trial)
        [[bracket]] = scheduler._hyperbands
        result = {"training_iteration": 1}
        assert scheduler.on_trial_result(None, trials[0], result) == TrialScheduler.CONTINUE
        assert bracket._live_trials[trials[0]][METRIC] == -np.inf


@pytest.mark.parametrize("name", ["pbt", "pb2"])
def test_the_interval_follows_the_length_of_training(tiny_experiment, name):
    sweep = {
        "parameters": {"algorithm.gamma": {"uniform": [0.9, 0.99]}},
        "scheduler": name,
        "samples": 2,
    }
    built = build_scheduler(tiny_experiment(train__env_steps=128 * 200, sweep=sweep))
    assert built._perturbation_interval == 20
    sweep["scheduler"] = {name: {"perturbation_interval": 7}}
    built = build_scheduler(tiny_experiment(train__env_steps=128 * 200, sweep=sweep))
    assert built._perturbation_interval == 7
