"""The trials of a sweep, drawn before it starts."""

import pytest

from stridelab.experiment import parse_experiment
from stridelab.tuning.cases import draw_cases
from stridelab_envs.registry import get_task

GRID = {"task.rewards": {"presets": ["v6", "v7"]}, "algorithm.num_epochs": [1, 2, 3]}
RANDOM = {
    "algorithm.gamma": {"uniform": [0.9, 0.99]},
    "algorithm.learning_rate": {"loguniform": [1e-5, 1e-2]},
    "algorithm.num_epochs": {"randint": [1, 100]},
}


@pytest.fixture
def cases(tiny):
    def draw(parameters=None, *, seeds=(0,), **sweep):
        tree = tiny | {"seeds": list(seeds)}
        if parameters is not None:
            tree["sweep"] = {"parameters": parameters, "baseline": False, **sweep}
        return draw_cases(parse_experiment(tree))

    return draw


def test_without_a_sweep_one_case_a_seed(cases):
    assert cases(seeds=[3, 1]) == [{"assignment": {}, "seed": 3}, {"assignment": {}, "seed": 1}]


def test_grid_times_seeds(cases):
    drawn = cases(GRID, seeds=[0, 1])
    assert len(drawn) == 2 * 3 * 2
    combinations = [
        (case["assignment"]["task.rewards"], case["assignment"]["algorithm.num_epochs"])
        for case in drawn[::2]
    ]
    assert combinations == [(name, n) for name in ("v6", "v7") for n in (1, 2, 3)]
    assert [case["seed"] for case in drawn] == [0, 1] * 6
    assert all(
        a["assignment"] == b["assignment"] for a, b in zip(drawn[::2], drawn[1::2], strict=True)
    )


def test_each_sample_runs_through_all_grids(cases):
    parameters = {"algorithm.num_epochs": [1, 2, 3], "algorithm.gamma": RANDOM["algorithm.gamma"]}
    drawn = [case["assignment"] for case in cases(parameters, samples=4)]
    assert len(drawn) == 4 * 3
    gammas = [assignment["algorithm.gamma"] for assignment in drawn]
    # One draw of gamma for three values of the grid, then the next.
    assert [len(set(gammas[i : i + 3])) for i in (0, 3, 6, 9)] == [1] * 4
    assert len(set(gammas)) == 4
    assert [assignment["algorithm.num_epochs"] for assignment in drawn] == [1, 2, 3] * 4


def test_draws_are_within_bounds_and_plain_numbers(cases):
    for case in cases(RANDOM, samples=50):
        assignment = case["assignment"]
        assert list(assignment) == list(RANDOM)
        assert 0.9 <= assignment["algorithm.gamma"] < 0.99
        assert 1e-5 <= assignment["algorithm.learning_rate"] < 1e-2
        assert 1 <= assignment["algorithm.num_epochs"] < 100
        assert [type(value) for value in assignment.values()] == [float, float, int]


def test_equal_search_seed_gives_equal_draws(cases):
    first = cases(RANDOM, samples=5, search_seed=7)
    assert cases(RANDOM, samples=5, search_seed=7) == first
    assert cases(RANDOM, samples=5, search_seed=8) != first
    # More seeds or more samples do not change what was drawn.
    assert cases(RANDOM, samples=5, search_seed=7, seeds=[0, 1])[::2] == first
    assert cases(RANDOM, samples=9, search_seed=7)[:5] == first


def test_baseline_comes_first_under_every_seed(cases):
    drawn = cases(GRID, seeds=[0, 1], baseline=True)
    assert drawn[:2] == [{"assignment": {}, "seed": 0}, {"assignment": {}, "seed": 1}]
    assert len(drawn) == 2 + 12


def test_a_baseline_is_the_default(tiny):
    tree = tiny | {"sweep": {"parameters": GRID}}
    assert draw_cases(parse_experiment(tree))[0]["assignment"] == {}


def test_what_the_file_says_is_no_second_baseline(cases, tiny):
    """The file's own values are among the grid's."""
    tiny["task"]["rewards"] = "v7"
    tiny["algorithm"]["num_epochs"] = 2
    drawn = cases(GRID, baseline=True)
    assert len(drawn) == 6
    assert {"task.rewards": "v7", "algorithm.num_epochs": 2} in [d["assignment"] for d in drawn]
    tiny["algorithm"]["num_epochs"] = 4
    assert len(cases(GRID, baseline=True)) == 7


def test_grids_below_a_switch_are_not_repeated(cases):
    parameters = {
        "task.randomization.joint_pos": [None, {}],
        "task.randomization.joint_pos.half_width": [0.01, 0.02, 0.03],
    }
    drawn = [case["assignment"] for case in cases(parameters)]
    assert drawn[0] == {"task.randomization.joint_pos": None}
    assert [d["task.randomization.joint_pos.half_width"] for d in drawn[1:]] == [0.01, 0.02, 0.03]


def test_one_member_of_a_population_starts_with_the_files_values(cases, tiny):
    parameters = {
        "algorithm.entropy_coef": {"loguniform": [1e-4, 1e-1]},
        "algorithm.gamma": {"reverseloguniform": [0.9, 0.995]},
        "task.rewards.upright": {"uniform": [0.0, 5.0]},
        "task.rewards": {"presets": ["v6", "v7"]},
    }
    tiny["algorithm"] |= {"entropy_coef": 0.02, "gamma": 0.999}
    tiny["task"]["rewards"] = {"preset": "v7", "upright": 1.25}
    population = cases(parameters, scheduler="pbt", samples=3, baseline=True)
    assert len(population) == 3
    first = population[0]["assignment"]
    assert first["algorithm.entropy_coef"] == pytest.approx(0.02)
    assert first["algorithm.gamma"] == pytest.approx(0.995)  # the nearest that is allowed
    assert first["task.rewards.upright"] == 1.25
    assert first["task.rewards"] == "v7"
    assert len({case["assignment"]["algorithm.gamma"] for case in population}) == 3
    drawn = cases(parameters, scheduler="pbt", samples=3)
    assert drawn[1:] == population[1:]
    assert drawn[0] != population[0]


def test_every_case_is_an_experiment(cases, tiny):
    drawn = cases(RANDOM | {"task.rewards": GRID["task.rewards"]}, samples=2)
    assert len(drawn) == 4
    for case in drawn:
        changed = parse_experiment(tiny).with_values(case["assignment"])
        preset = case["assignment"]["task.rewards"]
        expected = get_task("biped_walk").with_overrides({"rewards": preset})
        assert changed.task_config().reward_weights() == expected.reward_weights()
        assert changed.algorithm.gamma == case["assignment"]["algorithm.gamma"]
