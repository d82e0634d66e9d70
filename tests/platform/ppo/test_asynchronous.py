"""Sampling while learning: with whose weights, how stale samples count, checkpoints."""

import threading

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo import build_config
from stridelab.algorithms.ppo.losses import staleness_weights
from stridelab.sampling.ahead import SamplingAhead

ASYNC = {"algorithm__asynchronous": True}


def test_staleness_by_hand():
    now, then = torch.tensor([0.5, 0.25, 0.4]).log(), torch.tensor([0.25, 0.5, 0.1]).log()
    torch.testing.assert_close(staleness_weights(now, then), torch.tensor([2.0, 0.5, 2.0]))
    assert torch.equal(staleness_weights(now, now), torch.ones(3))


class TestSamplingAhead:
    def test_what_was_begun_is_taken_once(self):
        numbers = iter(range(10))
        ahead = SamplingAhead(lambda: [next(numbers)])
        assert ahead.take() == [0]
        ahead.start()
        ahead.settle()
        assert not ahead.is_under_way
        assert ahead.take() == [1]
        assert ahead.take() == [2]
        ahead.start()
        ahead.drop()
        assert ahead.take() == [4]
        ahead.close()

    def test_it_goes_on_meanwhile(self):
        go = threading.Event()
        ahead = SamplingAhead(lambda: [go.wait(10.0)])
        ahead.start()
        assert ahead.is_under_way
        go.set()
        assert ahead.take() == [True]
        ahead.close()

    def test_what_it_raises_is_raised_when_taken(self):
        def fail():
            raise ValueError("no ground")

        ahead = SamplingAhead(fail)
        ahead.start()
        ahead.settle()
        with pytest.raises(ValueError, match="no ground"):
            ahead.take()
        ahead.close()


def test_stale_advantages_are_weighted(build_pair):
    runner, learner = build_pair(**ASYNC)
    _, plain = build_pair()
    rollout = runner.sample()
    same, fresh = learner._prepare(rollout), plain._prepare(rollout)
    torch.testing.assert_close(same.advantages, fresh.advantages, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        learner.module[DEFAULT_MODULE_ID].unwrapped().actor[-1].bias.add_(0.05)
    stale = learner._prepare(rollout)
    weights = (stale.logp - rollout.logp.flatten()).exp().clamp(max=2.0)
    assert weights.std() > 0.01
    torch.testing.assert_close(stale.advantages, fresh.advantages * weights, rtol=1e-4, atol=1e-5)
    # Ratios are to the policy of now: 1 before the first step.
    _, statistics = learner._loss(*vars(stale.rows(torch.arange(30))).values())
    assert statistics["policy/ratio_max"].item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
class TestAlgorithm:
    @pytest.fixture
    def build(self, tiny_experiment):
        algorithms = []

        def build_algorithm(**values):
            experiment = tiny_experiment(**{**ASYNC, **values})
            algorithms.append(build_config(experiment, seed=3, num_threads=1).build_algo())
            return algorithms[-1]

        yield build_algorithm
        for algorithm in algorithms:
            algorithm.stop()

    def test_samples_are_one_iteration_old(self, build):
        algorithm = build()
        runner = algorithm.env_runner_group.local_env_runner
        learner = algorithm.learner_group._learner
        used, learned = [], []
        sample, update = runner.sample, learner.update_rollout

        def spy_sample(**arguments):
            used.append(runner.module.actor[-1].bias.detach().clone())
            return sample(**arguments)

        def spy_update(rollout):
            learned.append(learner.module[DEFAULT_MODULE_ID].unwrapped().actor[-1].bias.clone())
            return update(rollout)

        runner.sample, learner.update_rollout = spy_sample, spy_update
        for _ in range(3):
            algorithm.train()
        algorithm._ahead.settle()
        # Learned with: the first, then after each update. Sampled with: the first twice.
        assert len(used) == 4
        for bias, expected in zip(used, [0, 0, 1, 2], strict=True):
            assert torch.equal(bias, learned[expected])
        assert not torch.equal(learned[0], learned[1])
        assert algorithm.env_steps == 3 * algorithm.config.train_batch_size_per_learner

    def test_a_checkpoint_waits_and_goes_on(self, build, tmp_path):
        algorithm = build()
        algorithm.train()
        algorithm.save_to_path(str(tmp_path / "checkpoint"))
        assert not algorithm._ahead.is_under_way
        resumed = build()
        resumed.train()
        resumed.restore_from_path(str(tmp_path / "checkpoint"))
        assert resumed.env_steps == algorithm.env_steps
        before = resumed.env_steps
        resumed.train()
        assert resumed.env_steps == 2 * before

    def test_with_a_process_of_its_own(self, build):
        algorithm = build(resources__env_runners=1)
        for _ in range(3):
            algorithm.train()
        assert algorithm.iteration_metrics["policy/ratio_mean"] > 0.0
        assert algorithm.get_curriculum() == {}
