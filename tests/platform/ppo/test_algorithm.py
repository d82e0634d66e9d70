"""The algorithm as Tune drives it: iterations, remote runners, checkpoints."""

import math

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo import build_config
from stridelab_envs.errors import ConfigError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

METRICS = {
    *("episode/return", "episode/length", "episode/fell", "reward/upright"),
    *("metric/forward_velocity", "loss/policy", "loss/value", "loss/entropy", "loss/total"),
    *("policy/std", "policy/clip_fraction", "policy/approx_kl", "policy/entropy"),
    *("policy/learning_rate", "value/explained_variance", "sim/failures"),
    *("perf/env_steps_per_second", "perf/sample_seconds", "perf/learn_seconds"),
}


@pytest.fixture
def build(tiny_experiment):
    algorithms = []

    def build_algorithm(*, seed=3, **values):
        config = build_config(tiny_experiment(**values), seed=seed, num_threads=1)
        algorithms.append(config.build_algo())
        return algorithms[-1]

    yield build_algorithm
    for algorithm in algorithms:
        algorithm.stop()


def learner_weights(algorithm):
    module = algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()
    return {name: value.clone() for name, value in module.state_dict().items()}


def runner_weights(algorithm):
    return algorithm.env_runner_group.local_env_runner.module.state_dict()


def assert_runner_holds_the_learners_weights(algorithm):
    learned = learner_weights(algorithm)
    for name, value in runner_weights(algorithm).items():
        assert torch.equal(value, learned[name]), name


def assert_complete(metrics):
    assert metrics.keys() >= METRICS
    for name, value in metrics.items():
        assert isinstance(value, float), name
        assert math.isfinite(value), name
    assert 1.0 <= metrics["episode/length"] <= 10.0
    assert 0.0 <= metrics["episode/fell"] <= 1.0
    assert metrics["perf/env_steps_per_second"] > 0.0


def test_two_iterations_in_one_process(build):
    algorithm = build()
    start = learner_weights(algorithm)
    for iteration in (1, 2):
        algorithm.train()
        assert algorithm.env_steps == 128 * iteration
        assert algorithm.iteration == iteration
        assert_complete(algorithm.iteration_metrics)
        assert_runner_holds_the_learners_weights(algorithm)
    weights = learner_weights(algorithm)
    assert not torch.equal(weights["actor.0.weight"], start["actor.0.weight"])
    assert not torch.equal(weights["critic.0.weight"], start["critic.0.weight"])
    assert weights["normalizers.policy.count"].item() == 256


def test_equal_seeds_train_equally(build):
    first, second = build(), build()
    for algorithm in (first, second):
        torch.manual_seed(0)  # one process: the later build has moved the global generator
        algorithm.train()
    for name, value in learner_weights(first).items():
        assert torch.equal(value, learner_weights(second)[name]), name
    assert not torch.equal(
        learner_weights(build(seed=4))["actor.0.weight"],
        learner_weights(build(seed=3))["actor.0.weight"],
    )


def test_a_fresh_algorithm_goes_on_from_a_checkpoint(build, tmp_path):
    trained = build(algorithm__learning_rate=2e-3)
    for _ in range(2):
        trained.train()
    rate = trained.iteration_metrics["policy/learning_rate"]
    assert rate != 2e-3  # the adaptive schedule has moved it
    trained.save_to_path(str(tmp_path / "checkpoint"))
    fresh = build(seed=8, algorithm__learning_rate=2e-3)
    fresh.restore_from_path(str(tmp_path / "checkpoint"))
    assert fresh.env_steps == 256
    assert fresh.iteration == 2
    expected, restored = learner_weights(trained), learner_weights(fresh)
    assert expected.keys() == restored.keys()
    for name, value in expected.items():
        assert torch.equal(value, restored[name]), name
    assert_runner_holds_the_learners_weights(fresh)
    learner = fresh.learner_group._learner
    assert learner._optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    assert learner.get_state()["stridelab"]["learning_rate"] == pytest.approx(rate)
    steps = {float(state["step"]) for state in learner._optimizer.state_dict()["state"].values()}
    assert steps == {8.0}  # two iterations of two epochs of two minibatches
    fresh.train()
    assert fresh.env_steps == 384
    assert learner_weights(fresh)["normalizers.policy.count"].item() == 384


def test_one_remote_runner(build):
    algorithm = build(resources__env_runners=1)
    assert algorithm.env_runner_group.local_env_runner.env is None
    for iteration in (1, 2):
        algorithm.train()
        assert_complete(algorithm.iteration_metrics)
        assert algorithm.env_steps == 128 * iteration
    # The runner acts with the new weights: it reports what the learner holds.
    [remote] = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.get_state(), local_env_runner=False
    )
    learned = learner_weights(algorithm)
    for name, value in remote["rl_module"][DEFAULT_MODULE_ID].items():
        assert torch.equal(torch.tensor(value), learned[name]), name


def test_runners_that_do_not_divide_the_environments_are_refused(tiny_experiment):
    with pytest.raises(ConfigError, match=r"^resources.env_runners: .*\(16\), got 3$"):
        build_config(tiny_experiment(resources__env_runners=3), seed=0, num_threads=1)
