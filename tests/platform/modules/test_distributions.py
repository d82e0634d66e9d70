"""The Gaussian against PyTorch's own."""

import pytest
import torch
from gymnasium import spaces
from torch.distributions import Independent, Normal, kl_divergence

from stridelab.modules.distributions import DiagonalGaussian


def pair(seed, rows=5, k=4):
    """Our distribution and PyTorch's with equal parameters."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(rows, k, generator=generator)
    log_std = torch.randn(rows, k, generator=generator) * 0.7
    ours = DiagonalGaussian.from_logits(torch.cat([mean, log_std], dim=-1))
    return ours, Independent(Normal(mean, log_std.exp()), 1)


def test_logp():
    ours, theirs = pair(0)
    value = torch.randn(5, 4, generator=torch.Generator().manual_seed(9)) * 3.0
    assert ours.logp(value).shape == (5,)
    torch.testing.assert_close(ours.logp(value), theirs.log_prob(value))


def test_entropy():
    ours, theirs = pair(0)
    torch.testing.assert_close(ours.entropy(), theirs.entropy())


def test_kl():
    (ours, theirs), (other, their_other) = pair(0), pair(1)
    torch.testing.assert_close(ours.kl(other), kl_divergence(theirs, their_other))
    torch.testing.assert_close(other.kl(ours), kl_divergence(their_other, theirs))
    torch.testing.assert_close(ours.kl(ours), torch.zeros(5), atol=1e-6, rtol=0.0)


def test_kl_against_something_else_is_refused():
    ours, _ = pair(0)
    with pytest.raises(TypeError, match="TorchDeterministic"):
        ours.kl(ours.to_deterministic())


def test_leading_dimensions_are_kept():
    dist = DiagonalGaussian.from_logits(torch.zeros(3, 7, 8))
    assert dist.sample().shape == (3, 7, 4)
    assert dist.logp(torch.zeros(3, 7, 4)).shape == dist.entropy().shape == (3, 7)


def test_samples_have_the_moments():
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    torch.manual_seed(0)
    dist = DiagonalGaussian(mean.expand(200_000, 2), std.log().expand(200_000, 2))
    sample = dist.sample()
    torch.testing.assert_close(sample.mean(0), mean, atol=0.03, rtol=0.0)
    torch.testing.assert_close(sample.std(0), std, atol=0.03, rtol=0.0)


def test_gradients():
    mean, log_std = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    dist = DiagonalGaussian(mean, log_std)
    assert not dist.sample().requires_grad
    torch.manual_seed(0)
    sample = dist.rsample()
    sample.sum().backward()
    # sample = mean + exp(log_std) * noise, here with mean 0 and std 1.
    assert mean.grad.item() == 1.0
    assert log_std.grad.item() == pytest.approx(sample.item())


def test_deterministic_is_the_mean():
    ours, _ = pair(0)
    assert torch.equal(ours.to_deterministic().sample(), ours.mean)


def test_required_input_dim():
    space = spaces.Box(-1.0, 1.0, (17,))
    assert DiagonalGaussian.required_input_dim(space) == 34
