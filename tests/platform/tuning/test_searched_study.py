"""Searches and early stopping that judge configurations by their seeds, run for real."""

import math

import pytest
from mlflow import MlflowClient

from stridelab.experiment import parse_experiment
from stridelab.tuning.report import ranking
from stridelab.tuning.study import run_study

PER_ITERATION = 128
RATE = "algorithm.learning_rate"

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def study(tiny, local_ray, tmp_path):
    """Run a sweep over the learning rate whose score is the learning rate itself."""

    def run(space, *, iterations, resources=None, **sweep):
        tiny["algorithm"] |= {"schedule": "fixed", "learning_rate": 5e-4}
        tiny["train"] |= {"env_steps": iterations * PER_ITERATION, "evaluate_episodes": 0}
        tree = tiny | {
            "seeds": [0, 1],
            "resources": {"storage_path": str(tmp_path), **(resources or {})},
            "sweep": {"parameters": {RATE: space}, "metric": "policy/learning_rate", **sweep},
        }
        return run_study(parse_experiment(tree))

    return run


def test_a_poor_configuration_ends_with_all_its_seeds(study):
    result = study(
        [1e-3, 1e-4],
        iterations=6,
        resources={"max_concurrent": 1},
        baseline=False,
        scheduler={"asha": {"grace_period": 2, "reduction_factor": 2}},
    )
    assert [outcome.error for outcome in result.outcomes] == [None] * 4
    lengths = {
        (outcome.assignment[RATE], outcome.seed): outcome.metrics.get("training_iteration")
        for outcome in result.outcomes
    }
    # One trial at a time: the second seed of the poor one never starts.
    assert lengths == {(1e-3, 0): 6, (1e-3, 1): 6, (1e-4, 0): 2, (1e-4, 1): None}
    client = MlflowClient(result.tracking_uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = client.search_runs([experiment], "tags.`stridelab.kind` = 'trial'")
    assert len(runs) == 3
    assert {run.info.status for run in runs} == {"FINISHED"}
    ranked = [
        (label, [outcome.seed for outcome in outcomes]) for label, outcomes in ranking(result)
    ]
    assert ranked == [("learning_rate=0.001", [0, 1]), ("learning_rate=0.0001", [0])]


def test_optuna_gets_every_configuration_under_every_seed_and_the_baseline(study):
    result = study({"loguniform": [1e-5, 1e-2]}, iterations=1, samples=3, search="optuna")
    assert [outcome.error for outcome in result.outcomes] == [None] * 8
    groups = dict(ranking(result))
    assert len(groups) == 4
    for outcomes in groups.values():
        assert sorted(outcome.seed for outcome in outcomes) == [0, 1]
        rates = {outcome.metrics["policy/learning_rate"] for outcome in outcomes}
        assert rates == {outcomes[0].assignment.get(RATE, 5e-4)}
    searched = {o.assignment[RATE] for o in result.outcomes if o.assignment}
    assert len(searched) == 3
    assert all(1e-5 <= rate <= 1e-2 and math.isfinite(rate) for rate in searched)
