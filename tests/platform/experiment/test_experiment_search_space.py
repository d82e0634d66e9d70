import math

import numpy as np
import pytest

from stridelab.experiment import SearchSpace, parse_experiment
from stridelab.experiment.coordinates import Coordinate
from stridelab.experiment.search_space import Space, parse_space, without_orphans
from stridelab_envs.errors import ConfigError

ON_OFF = {"task.randomization.push": {"choice": [None, {}]}}


def sweep(parameters, *, seeds=(0,), **settings):
    return parse_experiment(
        {
            "name": "toy",
            "task": {"id": "toy", "rewards": {"upright": 2.0}},
            "train": {"env_steps": 1000},
            "seeds": list(seeds),
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
            ({"reverseloguniform": [0.9, 0.999]}, "reverseloguniform", (0.9, 0.999)),
            ({"quniform": [0.9, 0.99, 0.01]}, "quniform", (0.9, 0.99, 0.01)),
            ({"randint": [0, 3]}, "randint", (0, 3)),
            ({"power_of_two": [1, 64]}, "power_of_two", (1, 64)),
        ],
    )
    def test_reads_every_kind(self, raw, kind, values):
        space = parse_space(raw)
        assert space == Space(kind, values)
        assert parse_space(space.written()) == space

    def test_null_or_a_range(self):
        space = parse_space({"null_or": {"uniform": [-1.0, -0.1]}})
        assert space == Space("uniform", (-1.0, -0.1), optional=True)
        assert parse_space(space.written()) == space
        assert space.probes()[-1] is None

    @pytest.mark.parametrize(
        "inner", [{"choice": [1, 2]}, [1, 2], {"null_or": {"uniform": [0, 1]}}]
    )
    def test_null_or_a_list_is_written_otherwise(self, inner):
        with pytest.raises(ConfigError, match="null_or: must hold a range; in a list write null"):
            parse_space({"null_or": inner})

    def test_names_the_nearest_kind(self):
        with pytest.raises(ConfigError, match=r'unknown search space "unifrom"; .* "uniform"'):
            parse_space({"unifrom": [1, 2]})

    def test_probes(self):
        assert Space("randint", (2, 5)).probes() == (2, 3, 4)
        assert Space("randint", (2, 3)).probes() == (2,)
        assert Space("quniform", (0, 1, 0.5)).probes() == (0, 0.5, 1)
        assert Space("power_of_two", (64, 512)).probes() == (64, 128, 512)
        assert Space("uniform", (0, 1)).probes() == (0, pytest.approx(1 / math.pi), 1)
        assert Space("choice", (1, 2, 3)).probes() == (1, 2, 3)

    @pytest.mark.parametrize(
        ("space", "axis"),
        [
            (Space("uniform", (-1, 2.5)), Coordinate("linear", -1.0, 2.5)),
            (Space("loguniform", (1e-5, 1e-3)), Coordinate("log", 1e-5, 1e-3)),
            (Space("quniform", (0.5, 2.0, 0.25)), Coordinate("integer", 0, 6)),
            (Space("randint", (2, 5)), Coordinate("integer", 2, 4)),
            (Space("power_of_two", (64, 512)), Coordinate("integer", 6, 9)),
            (Space("grid", ("a", "b")), Coordinate("category", 0, 1)),
        ],
    )
    def test_axis(self, space, axis):
        assert space.coordinate == axis

    @pytest.mark.parametrize(
        ("space", "number", "value"),
        [
            (Space("uniform", (-1, 2.5)), 0.5, 0.5),
            (Space("quniform", (0.1, 0.7, 0.1)), 2, 0.3),  # 0.1 + 2 * 0.1 is 0.30000000000000004
            (Space("quniform", (64, 512, 64)), 3, 256),
            (Space("randint", (2, 5)), 4, 4),
            (Space("power_of_two", (64, 512)), 7, 128),
            (Space("reverseloguniform", (0.9, 0.99)), 0.05, 0.95),
            (Space("choice", ("a", None)), 1, None),
        ],
    )
    def test_decode_and_encode(self, space, number, value):
        decoded = space.decode(number)
        assert decoded == value
        assert type(decoded) is type(value)
        assert space.encode(value) == pytest.approx(number)

    def test_one_minus_the_value_is_drawn_evenly_in_the_logarithm(self):
        """Of gamma in [0.9, 0.999] half the draws lie above 0.99, not a tenth."""
        space = SearchSpace({"g": Space("reverseloguniform", (0.9, 0.999))})
        random = np.random.RandomState(0)
        drawn = np.array([space.decode(space.draw(random))["g"] for _ in range(4000)])
        assert drawn.min() >= 0.9
        assert drawn.max() <= 0.999
        assert (drawn > 0.99).mean() == pytest.approx(0.5, abs=0.03)

    def test_draws_reach_every_power_and_both_ends(self):
        space = SearchSpace({"n": Space("power_of_two", (2, 16)), "k": Space("randint", (1, 3))})
        random = np.random.RandomState(0)
        drawn = [space.decode(space.draw(random)) for _ in range(200)]
        assert {one["n"] for one in drawn} == {2, 4, 8, 16}
        assert {one["k"] for one in drawn} == {1, 2}

    def test_a_stranger_stands_at_the_next_allowed_place(self):
        assert Space("uniform", (0.0, 1.0)).encode(7) == 1.0
        assert Space("power_of_two", (4, 64)).encode(20) == 4  # 2 ** 4.3
        with pytest.raises(ValueError, match="no number"):
            Space("uniform", (0.0, 1.0)).encode("high")


class TestSearchSpace:
    def test_keys_and_grids(self):
        space = sweep(
            {
                "algorithm.gamma": [0.9, 0.95, 0.99],
                "task.rewards": {"presets": ["v6", "v7"]},
                "algorithm.learning_rate": {"loguniform": [1e-5, 1e-3]},
            }
        ).space
        assert space.keys == ("algorithm.gamma", "task.rewards", "algorithm.learning_rate")
        assert list(space.grids) == ["algorithm.gamma", "task.rewards"]

    def test_apply_sets_short_keys_first_and_copies(self):
        base = {"task": {"rewards": {"upright": 2.0}}}
        choice = {"task.rewards.upright": 3.0, "task.rewards": {"preset": "v6"}}
        found = SearchSpace({}).apply(base, choice)
        assert found == {"task": {"rewards": {"preset": "v6", "upright": 3.0}}}
        assert base == {"task": {"rewards": {"upright": 2.0}}}
        assert choice["task.rewards"] == {"preset": "v6"}

    def test_an_optional_range_has_a_switch(self):
        space = SearchSpace({"a": Space("uniform", (1.0, 2.0), optional=True)})
        assert list(space.coordinates) == ["a", "a?"]
        assert space.decode({"a": 1.5, "a?": 1}) == {"a": 1.5}
        assert space.decode({"a": 1.5, "a?": 0}) == {"a": None}
        assert space.encode({"a": None}) == {"a?": 0}
        assert space.encode({"a": 1.5}) == {"a": 1.5, "a?": 1}
        random = np.random.RandomState(0)
        off = [space.decode(space.draw(random))["a"] is None for _ in range(400)]
        assert 0.4 < np.mean(off) < 0.6

    def test_what_is_off_has_no_settings(self):
        assignment = {"a.push": None, "a.push.speed": 1.0, "a.pushing": 2.0, "b": 3}
        assert without_orphans(assignment) == {"a.push": None, "a.pushing": 2.0, "b": 3}
        space = SearchSpace(
            {
                "task.randomization.push": Space("choice", (None, {})),
                "task.randomization.push.speed": Space("uniform", (0.1, 1.0)),
            }
        )
        point = {"task.randomization.push": 0, "task.randomization.push.speed": 0.5}
        assert space.decode(point) == {"task.randomization.push": None}
        point["task.randomization.push"] = 1
        assert space.decode(point)["task.randomization.push.speed"] == 0.5

    def test_settings_below_a_switch_are_checked_with_the_switch_on(self):
        inner = {"task.randomization.push.speed": {"uniform": [0.1, 1.0]}}
        assert sweep({**ON_OFF, **inner}).space.keys == (*ON_OFF, *inner)
        with pytest.raises(ConfigError, match=r"push.sped: unknown parameter .sped."):
            sweep({**ON_OFF, "task.randomization.push.sped": {"uniform": [0.1, 1.0]}})

    def test_every_draw_is_a_valid_experiment(self):
        experiment = parse_experiment(
            {
                "name": "toy",
                "task": {"id": "toy"},
                "train": {"env_steps": 1000},
                "sweep": {
                    "parameters": {
                        "task.rewards.upright": {"null_or": {"uniform": [1, 2]}},
                        "task.rewards": {"presets": ["v6", "v7"]},
                        "algorithm.num_epochs": {"randint": [2, 5]},
                        "algorithm.gamma": {"quniform": [0.9, 1.0, 0.02]},
                        "model.actor_hidden": {"choice": [[32], [64, 32]]},
                        "task.num_envs": {"power_of_two": [256, 1024]},
                        "task.randomization.push": {"choice": [None, {"speed": 0.25}]},
                    }
                },
            }
        )
        assert experiment.sweep is not None
        space, random = experiment.sweep.space, np.random.RandomState(1)
        drawn = [space.decode(space.draw(random)) for _ in range(12)]
        assert {one["task.randomization.push"] is None for one in drawn} == {True, False}
        for assignment in drawn:
            task = experiment.with_values({"sweep": None, **assignment}).task_config()
            upright = assignment["task.rewards.upright"]
            assert task.reward_weights()["upright"] == (0.0 if upright is None else upright)
            expected = {"v6": 0.0, "v7": 0.7}[assignment["task.rewards"]]
            assert task.reward_weights()["tracking_lin_vel"] == expected
            push = assignment["task.randomization.push"]
            assert ("push" in task.randomization) == (push is not None)


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
        assert list(found.space.grids) == ["task.num_envs", "algorithm.num_minibatches"]


GAMMA = {"algorithm.gamma": {"uniform": [0.9, 0.99]}}
COMBINATIONS = [
    # What goes together ...
    ({"scheduler": "asha"}, (0, 1), None),
    ({"scheduler": "median_stopping", "search": "optuna"}, (0, 1), None),
    ({"scheduler": "hyperband", "search": "optuna"}, (0,), None),
    ({"scheduler": "pbt", "samples": 2}, (0,), None),
    ({"scheduler": {"pb2": {"quantile_fraction": 0.5}}, "samples": 2}, (0,), None),
    ({"metric": "eval/survival_rate"}, (0, 1), None),
    # ... and what does not.
    (
        {"scheduler": "hyperband"},
        (0, 1),
        "seeds: hyperband pauses and compares single trials, so it cannot judge a configuration by "
        "all its seeds; use asha, or one seed",
    ),
    (
        {"scheduler": "pbt", "samples": 2},
        (0, 1),
        "seeds: pbt's trials copy each other's weights, so seeds do not stay apart; give one seed "
        "and train the best values again under several",
    ),
    (
        {"scheduler": {"median_stopping": {"hard_stop": False}}},
        (0, 1),
        "seeds: median_stopping pauses single trials with these arguments, which takes the seeds "
        "of a configuration apart; leave out min_time_slice and hard_stop, or give one seed",
    ),
    (
        {"scheduler": "pb2", "samples": 2, "search": "optuna"},
        (0,),
        "sweep.search: pb2 chooses the values itself; leave out the search",
    ),
    (
        {"scheduler": "pbt"},
        (0,),
        "sweep.samples: pbt needs a population of at least 2, got 1",
    ),
    (
        {"scheduler": "asha", "metric": "eval/survival_rate"},
        (0,),
        "sweep.metric: asha compares trials while they train, and eval/survival_rate is measured "
        "after the last iteration only; use episode/return, or the fifo scheduler",
    ),
    (
        {"scheduler": {"pbt": {"hyperparam_mutations": {}}}, "samples": 2},
        (0,),
        "sweep.scheduler.pbt.hyperparam_mutations: cannot be set here: it is sweep.parameters",
    ),
    (
        {"scheduler": {"pbt": {"perturbation_factors": [1.2, -0.8]}}, "samples": 2},
        (0,),
        "sweep.scheduler.pbt.perturbation_factors: must hold factors above 0, got -0.8",
    ),
    (
        {"scheduler": {"pbt": {"resample_probability": 2}}, "samples": 2},
        (0,),
        "sweep.scheduler.pbt.resample_probability: must be between 0 and 1, got 2",
    ),
    (
        {"scheduler": {"hyperband": {"reduction_factor": 1}}},
        (0,),
        "sweep.scheduler.hyperband.reduction_factor: must be above 1, got 1",
    ),
]


@pytest.mark.parametrize(("settings", "seeds", "line"), COMBINATIONS)
def test_combinations(settings, seeds, line):
    if line is None:
        assert sweep(GAMMA, seeds=seeds, **settings) is not None
        return
    with pytest.raises(ConfigError) as caught:
        sweep(GAMMA, seeds=seeds, **settings)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("scheduler", "parameters", "problem"),
    [
        ("pbt", {"algorithm.gamma": [0.9, 0.99]}, "pbt cannot search a grid"),
        ("pbt", {"model.activation": {"choice": ["elu", "tanh"]}}, "cannot change while a trial"),
        ("pbt", {"task.num_envs": {"power_of_two": [64, 128]}}, "cannot change while a trial"),
        (
            "pbt",
            {"task.randomization.push.speed": {"uniform": [0, 1]}},
            "cannot change while a trial trains, as pbt asks for; algorithm and task.rewards can",
        ),
        ("pb2", {"algorithm.num_epochs": {"randint": [2, 5]}}, "pb2 searches ranges of real"),
        ("pb2", {"task.rewards.upright": {"null_or": {"uniform": [1, 2]}}}, "pb2 searches ranges"),
        ("pbt", {"algorithm.learning_rate": {"loguniform": [1e-4, 1e-3]}}, "is overruled by algo"),
    ],
)
def test_what_a_population_cannot_vary(scheduler, parameters, problem):
    [key] = parameters
    with pytest.raises(ConfigError, match=problem) as caught:
        sweep(parameters, scheduler=scheduler, samples=2)
    assert caught.value.path == f"sweep.parameters.{key}"
