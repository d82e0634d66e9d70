import math

import pytest

from stridelab.experiment import SearchSpace, parse_experiment
from stridelab.experiment.search_space import Space, parse_space
from stridelab_envs.errors import ConfigError


def sweep(parameters, **settings):
    return parse_experiment(
        {
            "name": "toy",
            "task": {"id": "toy", "rewards": {"upright": 2.0}},
            "train": {"env_steps": 1000},
            "sweep": {"parameters": parameters, **settings},
        }
    ).sweep


class TestSpace:
    @pytest.mark.parametrize(
        ("raw", "kind", "values"),
        [
            ([1, 2], "grid", (1, 2)),
            ({"grid": [1, 2]}, "grid", (1, 2)),
            ({"choice": ["a", None, [1]]}, "choice", ("a", None, [1])),
            ({"presets": ["v6", "v7"]}, "presets", ("v6", "v7")),
            ({"uniform": [-1, 2.5]}, "uniform", (-1, 2.5)),
            ({"loguniform": [1e-5, 1e-3]}, "loguniform", (1e-5, 1e-3)),
            ({"quniform": [0.9, 0.99, 0.01]}, "quniform", (0.9, 0.99, 0.01)),
            ({"randint": [0, 3]}, "randint", (0, 3)),
        ],
    )
    def test_reads_every_kind(self, raw, kind, values):
        assert parse_space(raw) == Space(kind, values)

    def test_names_the_nearest_kind(self):
        with pytest.raises(ConfigError, match=r'unknown search space "unifrom"; .* "uniform"'):
            parse_space({"unifrom": [1, 2]})

    def test_probes(self):
        assert Space("randint", (2, 5)).probes() == (2, 4)
        assert Space("quniform", (0, 1, 0.5)).probes() == (0, 0.5, 1)
        assert Space("uniform", (0, 1)).probes() == (0, pytest.approx(1 / math.pi), 1)
        assert Space("choice", (1, 2, 3)).probes() == (1, 2, 3)


class TestSearchSpace:
    def test_grid_size_is_the_product_of_grids(self):
        space = sweep(
            {
                "algorithm.gamma": [0.9, 0.95, 0.99],
                "task.rewards": {"presets": ["v6", "v7"]},
                "algorithm.learning_rate": {"loguniform": [1e-5, 1e-3]},
            }
        ).space
        assert space.keys == ("algorithm.gamma", "task.rewards", "algorithm.learning_rate")
        assert space.grid_size == 6
        assert SearchSpace({}).grid_size == 1

    def test_presets_are_a_choice_for_optuna(self):
        space = sweep({"task.rewards": {"presets": ["v6", "v7"]}}, search="optuna").space
        assert space.grid_size == 1
        assert space.to_tune()["task.rewards"].categories == ["v6", "v7"]

    def test_apply_sets_short_keys_first_and_copies(self):
        base = {"task": {"rewards": {"upright": 2.0}}}
        choice = {"task.rewards.upright": 3.0, "task.rewards": {"preset": "v6"}}
        found = SearchSpace({}).apply(base, choice)
        assert found == {"task": {"rewards": {"preset": "v6", "upright": 3.0}}}
        assert base == {"task": {"rewards": {"upright": 2.0}}}
        assert choice["task.rewards"] == {"preset": "v6"}

    def test_domains_of_ray(self):
        from ray import tune

        domains = SearchSpace(
            {
                "a": Space("uniform", (1.0, 2.5)),
                "b": Space("loguniform", (1e-5, 1e-3)),
                "c": Space("quniform", (0.0, 1.0, 0.25)),
                "d": Space("randint", (2, 5)),
                "e": Space("choice", ("x", "y")),
                "f": Space("grid", (1, 2)),
                "g": Space("presets", ("v6", "v7")),
            }
        ).to_tune()
        assert (domains["a"].lower, domains["a"].upper) == (1.0, 2.5)
        assert (domains["b"].lower, domains["b"].upper) == (1e-5, 1e-3)
        assert type(domains["b"].sampler).__name__ == "_LogUniform"
        assert domains["c"].sampler.q == 0.25
        assert {domains["d"].sample() for _ in range(200)} == {2, 3, 4}
        assert domains["e"].categories == ["x", "y"]
        assert domains["f"] == tune.grid_search([1, 2])
        assert domains["g"] == tune.grid_search(["v6", "v7"])

    def test_every_trial_ray_makes_is_a_valid_experiment(self):
        from ray.tune.search.variant_generator import generate_variants

        experiment = parse_experiment(
            {
                "name": "toy",
                "task": {"id": "toy"},
                "train": {"env_steps": 1000},
                "sweep": {
                    "parameters": {
                        "task.rewards.upright": {"uniform": [1, 2]},
                        "task.rewards": {"presets": ["v6", "v7"]},
                        "algorithm.num_epochs": {"randint": [2, 5]},
                        "algorithm.gamma": {"quniform": [0.9, 1.0, 0.02]},
                        "model.actor_hidden": {"choice": [[32], [64, 32]]},
                    }
                },
            }
        )
        assert experiment.sweep is not None
        variants = [config for _, config in generate_variants(experiment.sweep.space.to_tune())]
        assert len(variants) == 2
        for variant in variants:
            trial = experiment.with_values({"sweep": None, **variant})
            weights = trial.task_config().reward_weights()
            assert weights["upright"] == variant["task.rewards.upright"]
            assert 1 <= weights["upright"] <= 2
            expected = {"v6": 0.0, "v7": 0.7}[variant["task.rewards"]]
            assert weights["tracking_lin_vel"] == expected


class TestSweep:
    def test_defaults_and_short_forms(self):
        found = sweep({"algorithm.gamma": [0.9]}, scheduler="asha")
        assert found.metric == "episode/return"
        assert (found.scheduler_name, found.scheduler_args) == ("asha", {})
        assert (found.search_name, found.search_args) == ("random", {})
        assert found.parameters == {"algorithm.gamma": {"grid": [0.9]}}

    def test_arguments_are_kept(self):
        found = sweep(
            {"algorithm.gamma": {"uniform": [0.9, 0.99]}},
            scheduler={"median_stopping": {"grace_period": 5, "hard_stop": False}},
            search={"optuna": {"study_name": "s"}},
        )
        assert found.scheduler_args == {"grace_period": 5, "hard_stop": False}
        assert found.search_args == {"study_name": "s"}

    def test_asha_may_wait_longer_than_rays_own_limit(self):
        found = sweep({"algorithm.gamma": [0.9]}, scheduler={"asha": {"grace_period": 5000}})
        assert found.scheduler_args == {"grace_period": 5000}

    @pytest.mark.parametrize(
        ("settings", "line"),
        [
            (
                {"scheduler": {"asha": {"grace_period": 5, "max_t": 4}}},
                "sweep.scheduler.asha: ASHAScheduler refuses these arguments: "
                "grace_period must be <= max_t",
            ),
            (
                {"scheduler": {"asha": {"metric": "x"}}},
                "sweep.scheduler.asha.metric: cannot be set here: it is sweep.metric",
            ),
            (
                {"scheduler": {"median_stopping": {"hard_stop": 1}}},
                "sweep.scheduler.median_stopping.hard_stop: must be true or false, got 1",
            ),
            (
                {"search": {"optuna": {"seeed": 1}}},
                'sweep.search.optuna.seeed: unknown argument "seeed" '
                "(known: evaluated_rewards, points_to_evaluate, study_name)",
            ),
            (
                {"search": "optuna"},
                "sweep.parameters.algorithm.gamma: optuna cannot search a grid; "
                "write {choice: [...]}",
            ),
        ],
    )
    def test_refused(self, settings, line):
        with pytest.raises(ConfigError) as caught:
            sweep({"algorithm.gamma": [0.9]}, **settings)
        assert str(caught.value) == line

    def test_a_term_must_exist_beside_every_preset(self):
        with pytest.raises(ConfigError) as caught:
            sweep({"task.rewards": {"presets": ["v6", "v9"]}, "task.rewards.upright": [1, 2]})
        assert caught.value.path == "sweep.parameters.task.rewards"

    def test_values_that_fit_only_together_are_accepted(self):
        found = sweep({"task.num_envs": [6, 12], "algorithm.num_minibatches": [9, 18]})
        assert found.space.grid_size == 4
