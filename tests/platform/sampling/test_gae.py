"""Generalised advantage estimation against numbers worked out by hand."""

import pytest
import torch

from stridelab.sampling.gae import advantages_and_returns

NO_VALUES = torch.empty(0)


def flags(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def never(rewards):
    return torch.zeros_like(rewards, dtype=torch.bool)


def test_by_hand_with_failure_and_time_limit():
    # Columns: environment 0 fails at step 1, environment 1 runs into the time limit at step 1.
    advantages, returns = advantages_and_returns(
        rewards=torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),
        values=torch.tensor([[4.0, 1.0], [5.0, 2.0], [6.0, 3.0], [7.0, 4.0]]),
        terminated=flags([0, 0], [1, 0], [0, 0]),
        truncated=flags([0, 0], [0, 1], [0, 0]),
        final_values=torch.tensor([10.0]),
        gamma=0.5,
        gae_lambda=0.5,
    )
    # Environment 0: deltas 1 + 2.5 - 4 = -0.5, 2 - 5 = -3, 3 + 3.5 - 6 = 0.5.
    # Environment 1: deltas 1 + 1 - 1 = 1, 2 + 0.5 * 10 - 2 = 5, 3 + 2 - 3 = 2.
    # A step that ends an episode takes nothing from the one after it; else a quarter of it.
    expected = torch.tensor([[-0.5 - 0.25 * 3.0, 1.0 + 0.25 * 5.0], [-3.0, 5.0], [0.5, 2.0]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, torch.tensor([[2.75, 3.25], [2.0, 7.0], [6.5, 5.0]]))


def test_final_values_are_taken_in_time_major_order():
    # With gamma 1, lambda 0 and zero rewards and values, the advantage is the next value.
    advantages, _ = advantages_and_returns(
        rewards=torch.zeros(2, 3),
        values=torch.zeros(3, 3),
        terminated=flags([0, 0, 0], [0, 0, 0]),
        truncated=flags([0, 1, 0], [1, 0, 1]),
        final_values=torch.tensor([10.0, 20.0, 30.0]),
        gamma=1.0,
        gae_lambda=0.0,
    )
    torch.testing.assert_close(advantages, torch.tensor([[0.0, 10.0, 0.0], [20.0, 0.0, 30.0]]))


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_a_perfect_value_leaves_no_advantage(gae_lambda):
    """A constant reward r forever is worth r / (1 - gamma); a time limit changes nothing."""
    gamma, reward = 0.9, 2.0
    worth = reward / (1.0 - gamma)
    rewards = torch.full((6, 2), reward)
    truncated = never(rewards)
    truncated[2, 1] = True
    advantages, returns = advantages_and_returns(
        rewards,
        torch.full((7, 2), worth),
        never(rewards),
        truncated,
        torch.tensor([worth]),
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    torch.testing.assert_close(advantages, torch.zeros(6, 2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(returns, torch.full((6, 2), worth))


def test_lambda_1_gives_discounted_rewards():
    torch.manual_seed(0)
    rewards, values = torch.randn(4, 3), torch.randn(5, 3)
    _, returns = advantages_and_returns(
        rewards, values, never(rewards), never(rewards), NO_VALUES, gamma=0.5, gae_lambda=1.0
    )
    expected = sum(0.5**k * rewards[k] for k in range(4)) + 0.5**4 * values[4]
    torch.testing.assert_close(returns[0], expected)
    torch.testing.assert_close(returns[3], rewards[3] + 0.5 * values[4])


def test_lambda_0_gives_one_step_errors():
    torch.manual_seed(0)
    rewards, values = torch.randn(4, 3), torch.randn(5, 3)
    advantages, returns = advantages_and_returns(
        rewards, values, never(rewards), never(rewards), NO_VALUES, gamma=0.9, gae_lambda=0.0
    )
    torch.testing.assert_close(returns, rewards + 0.9 * values[1:])
    torch.testing.assert_close(advantages, returns - values[:-1])


def test_what_comes_after_a_failure_does_not_matter():
    rewards, values = torch.ones(3, 1), torch.ones(4, 1)
    terminated = flags([0], [1], [0])
    settings = {"gamma": 0.9, "gae_lambda": 0.9}
    before, _ = advantages_and_returns(
        rewards, values, terminated, never(rewards), NO_VALUES, **settings
    )
    rewards, values = rewards.clone(), values.clone()
    rewards[2], values[2:] = 100.0, -50.0
    after, _ = advantages_and_returns(
        rewards, values, terminated, never(rewards), NO_VALUES, **settings
    )
    assert torch.equal(before[:2], after[:2])
    assert not torch.equal(before[2], after[2])


def test_inputs_are_left_alone_and_nothing_carries_a_gradient():
    rewards, values = torch.ones(2, 1), torch.ones(3, 1, requires_grad=True)
    terminated = flags([1], [0])
    advantages, returns = advantages_and_returns(
        rewards, values, terminated, never(rewards), NO_VALUES, gamma=0.9, gae_lambda=0.9
    )
    assert torch.equal(values.detach(), torch.ones(3, 1))
    assert not advantages.requires_grad
    assert not returns.requires_grad
