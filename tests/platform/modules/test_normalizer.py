"""Running observation statistics."""

import math

import pytest
import torch

from stridelab.modules.normalizer import RunningNormalizer


def draws(*sizes):
    """Batches of three signals with means 1, -20, 300 and deviations 0.1, 2, 40."""
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.tensor([0.1, 2.0, 40.0]), torch.tensor([1.0, -20.0, 300.0])
    return [torch.randn(size, 3, generator=generator) * scale + shift for size in sizes]


def fed(batches):
    normalizer = RunningNormalizer(3)
    for batch in batches:
        normalizer.update(batch)
    return normalizer


def test_two_batches_by_hand():
    normalizer = RunningNormalizer(1)
    normalizer.update(torch.tensor([[1.0], [3.0]]))
    assert (normalizer.mean.item(), normalizer.var.item(), normalizer.count.item()) == (2, 1, 2)
    normalizer.update(torch.tensor([[8.0]]))
    # 1, 3, 8: mean 4, squares of deviations 9 + 1 + 16 over 3.
    assert normalizer.mean.item() == pytest.approx(4.0)
    assert normalizer.var.item() == pytest.approx(26.0 / 3.0)
    assert normalizer.count.item() == 3


def test_batches_equal_all_data_at_once():
    batches = draws(1, 7, 500, 2)
    everything = torch.cat(batches).double()
    normalizer = fed(batches)
    torch.testing.assert_close(normalizer.mean.double(), everything.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        normalizer.var.double(), everything.var(0, correction=0), rtol=1e-4, atol=0.0
    )
    assert normalizer.count.item() == 510


def test_order_of_batches_is_irrelevant():
    batches = draws(3, 200, 1, 40)
    forwards, backwards = fed(batches), fed(batches[::-1])
    torch.testing.assert_close(forwards.mean, backwards.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(forwards.var, backwards.var, rtol=1e-4, atol=0.0)


def test_first_batch_replaces_the_initial_statistics():
    [batch] = draws(5)
    normalizer = fed([batch])
    torch.testing.assert_close(normalizer.mean, batch.mean(0))
    torch.testing.assert_close(normalizer.var, batch.var(0, correction=0))


def test_output_is_in_standard_deviations_and_clipped():
    normalizer = RunningNormalizer(1, epsilon=0.5, clip=3.0)
    normalizer.update(torch.tensor([[1.0], [3.0]]))  # mean 2, deviation 1
    out = normalizer(torch.tensor([[2.0], [3.5], [100.0], [-100.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.0], [1.0], [3.0], [-3.0]]))


def test_constant_signal_gives_zero_and_stays_small_when_it_moves():
    normalizer = RunningNormalizer(1)
    for _ in range(3):
        normalizer.update(torch.full((4, 1), 5.0))
    assert normalizer.var.item() == 0.0
    out = normalizer(torch.tensor([[5.0], [5.02]]))
    assert out[0].item() == 0.0
    assert out[1].item() == pytest.approx(0.02 / 0.01, rel=1e-3)


def test_forward_changes_neither_statistics_nor_input():
    normalizer = fed(draws(10))
    before = {name: value.clone() for name, value in normalizer.state_dict().items()}
    [observation] = draws(4)
    copy = observation.clone()
    first = normalizer(observation)
    torch.testing.assert_close(normalizer(observation), first, rtol=0.0, atol=0.0)
    assert torch.equal(observation, copy)
    for name, value in normalizer.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_statistics_travel_with_the_state_dict():
    source, target = fed(draws(10)), RunningNormalizer(3)
    target.load_state_dict(source.state_dict(), strict=True)
    [observation] = draws(2)
    assert torch.equal(target(observation), source(observation))
    # The count travels too: it decides how much the next batch weighs.
    [batch] = draws(6)
    source.update(batch)
    target.update(batch)
    assert torch.equal(target.mean, source.mean)


def test_count_does_not_saturate():
    """In float32 a count of 2**24 would no longer grow by one."""
    normalizer = RunningNormalizer(1)
    normalizer.count.fill_(float(2**24))
    normalizer.update(torch.zeros(1, 1))
    assert normalizer.count.item() == 2**24 + 1
    assert math.isfinite(normalizer.mean.item())
