"""Advantages in units of their own spread."""

import pytest
import torch

from stridelab.algorithms.ppo.advantages import columns_of, normalize_advantages
from stridelab_envs.errors import ConfigError
from stridelab_envs.registry import get_task


def test_over_all_samples():
    found = normalize_advantages(torch.tensor([1.0, 3.0, 5.0, 7.0]))
    # Mean 4, deviation sqrt((9 + 1 + 1 + 9) / 3) = 2.58199.
    assert found.tolist() == pytest.approx([-1.161895, -0.387298, 0.387298, 1.161895])


def test_within_each_group():
    """Ten times as much at stake in the second group, and the third holds one sample."""
    advantages = torch.tensor([1.0, 100.0, 3.0, -100.0, 9.0])
    group = torch.tensor([0, 1, 0, 1, 3])
    found = normalize_advantages(advantages, torch.eye(4)[group])
    assert found.tolist() == pytest.approx([-1.0, 1.0, 1.0, -1.0, 0.0])


def test_one_group_is_all_samples_but_for_the_correction():
    advantages = torch.randn(50, generator=torch.Generator().manual_seed(0))
    found = normalize_advantages(advantages, torch.ones(50, 1))
    torch.testing.assert_close(found, normalize_advantages(advantages) * (50 / 49) ** 0.5)


def test_columns_are_found_by_name():
    columns = columns_of("task", get_task("h1_multitask"))
    assert (columns.start, columns.stop) == (97, 105)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("tusk", 'unknown observation term of the policy "tusk"; did you mean "task"'),
        ("walk_yaw_rate", "walk_yaw_rate is one number"),
    ],
)
def test_other_terms_are_refused(term, message):
    with pytest.raises(ConfigError, match=rf"^algorithm\.normalize_advantages_by: {message}"):
        columns_of(term, get_task("h1_multitask"))


def test_the_learner_looks_at_the_groups(build_pair):
    """Each half of an observation's number stands for a group here; only two samples differ."""
    runner, learner = build_pair()
    rollout = runner.sample()
    plain = learner._prepare(rollout).advantages
    assert plain.mean().item() == pytest.approx(0.0, abs=1e-5)
    learner.config.advantage_columns = slice(0, 2)
    groups = rollout.obs["policy"][:-1, :, :2].flatten(0, 1).argmax(dim=1)
    assert 0 < groups.sum() < len(groups)
    found = learner._prepare(rollout).advantages
    for group in (0, 1):
        mine = found[groups == group]
        assert mine.mean().item() == pytest.approx(0.0, abs=1e-5)
        assert mine.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)


def test_rewards_are_scaled_in_learning_alone(build_pair):
    """What a critic is to learn is a straight line over the scale."""
    returns = []
    for scale in (0.5, 1.0, 2.0):
        runner, learner = build_pair(algorithm__reward_scale=scale, algorithm__precision="fp32")
        rollout = runner.sample()
        rewards = rollout.rewards.clone()
        returns.append(learner._prepare(rollout).returns)
        assert torch.equal(rollout.rewards, rewards)
    half, one, two = returns
    assert (one - half).abs().max() > 1e-3
    torch.testing.assert_close(two - one, 2.0 * (one - half), atol=1e-5, rtol=1e-4)
