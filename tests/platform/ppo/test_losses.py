"""The terms of PPO's loss against numbers worked out by hand."""

import math

import pytest
import torch

from stridelab.algorithms.ppo.losses import (
    adapted_learning_rate,
    explained_variance,
    surrogate_loss,
    value_loss,
)


def test_surrogate_in_all_four_corners():
    # Clipping counts only where it lowers the objective: ratio up with a gain, down with a loss.
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5])
    advantages = torch.tensor([2.0, -2.0, 2.0, -2.0])
    # min(3, 2.4), min(-3, -2.4), min(1, 1.6), min(-1, -1.6): together 2.4 - 3 + 1 - 1.6 = -1.2
    loss = surrogate_loss(ratio, advantages, 0.2)
    assert loss.item() == pytest.approx(1.2 / 4)


def test_surrogate_has_no_gradient_where_it_is_clipped():
    log_ratio = torch.tensor([0.5, 0.5, -0.5, -0.5], requires_grad=True)
    surrogate_loss(log_ratio.exp(), torch.tensor([2.0, -2.0, 2.0, -2.0]), 0.2).backward()
    expected = [0.0, 2.0 * math.exp(0.5) / 4, -2.0 * math.exp(-0.5) / 4, 0.0]
    assert log_ratio.grad.tolist() == pytest.approx(expected)


def test_surrogate_of_an_unchanged_policy_is_minus_the_mean_advantage():
    advantages = torch.tensor([1.0, -3.0, 5.0])
    assert surrogate_loss(torch.ones(3), advantages, 0.2).item() == pytest.approx(-1.0)


def test_plain_value_loss():
    values, targets = torch.tensor([1.0, 4.0]), torch.tensor([3.0, 3.0])
    assert value_loss(values, targets, torch.zeros(2), None).item() == pytest.approx(2.5)


def test_clipped_value_loss_takes_the_larger_error():
    values = torch.tensor([2.0, 0.1, -1.0])
    old = torch.zeros(3)
    targets = torch.tensor([2.0, 1.0, 0.5])
    # Moved at most 0.2: to 0.2, 0.1, -0.2.  Errors 0, 0.81, 2.25 against 3.24, 0.81, 0.49.
    loss = value_loss(values, targets, old, 0.2)
    assert loss.item() == pytest.approx((3.24 + 0.81 + 2.25) / 3)


def test_clipped_value_loss_stops_pushing_once_the_value_has_moved_far():
    values = torch.tensor([0.5], requires_grad=True)
    value_loss(values, torch.tensor([1.0]), torch.zeros(1), 0.2).backward()
    assert values.grad.item() == 0.0
    values.grad = None
    value_loss(values, torch.tensor([1.0]), torch.zeros(1), None).backward()
    assert values.grad.item() == pytest.approx(-1.0)


def test_explained_variance():
    targets = torch.tensor([0.0, 2.0, 4.0])
    assert explained_variance(targets, targets).item() == pytest.approx(1.0)
    assert explained_variance(torch.full((3,), 7.0), targets).item() == pytest.approx(0.0)
    # Residuals 0, 1, 2 of targets 0, 2, 4: a quarter of the variance is left.
    assert explained_variance(targets / 2, targets).item() == pytest.approx(0.75)
    assert explained_variance(-targets, targets).item() == pytest.approx(-3.0)


def test_explained_variance_of_constant_targets_is_finite():
    constant = torch.full((4,), 2.0)
    assert explained_variance(constant, constant).item() == pytest.approx(1.0)
    assert math.isfinite(explained_variance(torch.randn(4), constant).item())


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (0.0, 1.0),  # the first minibatch says nothing
        (0.001, 1.5),
        (0.0049, 1.5),
        (0.0051, 1.0),
        (0.0199, 1.0),
        (0.0201, 1 / 1.5),
        (10.0, 1 / 1.5),
        (math.nan, 1.0),
    ],
)
def test_adaptive_rule(kl, factor):
    assert adapted_learning_rate(3e-4, kl, 0.01) == pytest.approx(3e-4 * factor)


def test_adaptive_rule_stays_within_bounds():
    assert adapted_learning_rate(1.2e-5, 1.0, 0.01) == 1e-5
    assert adapted_learning_rate(8e-3, 1e-3, 0.01) == 1e-2
    assert adapted_learning_rate(0.5, 1.0, 0.01, bounds=(0.4, 1.0)) == 0.4
