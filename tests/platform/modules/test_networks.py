"""Hidden layers: ELU in place gives torch's values, and slopes from its result."""

import copy

import pytest
import torch
from torch import nn

from stridelab.modules.networks import Perceptron, hidden_layers


def grid(dtype):
    """Inputs to both sides of zero, from tiny to saturated."""
    tiny = torch.logspace(-6, 1.3, 200)
    return torch.cat([-tiny, torch.zeros(1), tiny]).to(dtype)


def elu(activation, values, gradient):
    x = values.clone().requires_grad_()
    y = activation(x * 1.0)  # a leaf cannot be overwritten
    y.backward(gradient)
    return y.detach(), x.grad


def activation():
    return hidden_layers(1, [1], "elu")[1]


@pytest.mark.parametrize(
    "dtype, slope_error",
    [
        (torch.float32, 2.0**-24),  # half a unit in the last place of 1
        (torch.bfloat16, 2.0**-8),  # rounding of the result, 2^-9, and of the slope itself
    ],
)
def test_elu_has_the_values_and_slopes_of_torch(dtype, slope_error):
    values = grid(dtype)
    y, slope = elu(activation(), values, torch.ones_like(values))
    assert torch.equal(y, nn.functional.elu(values))
    exact = values.double().clamp(max=0.0).exp()
    assert (slope.double() - exact).abs().max() <= slope_error


def test_elu_keeps_its_result_and_not_its_input():
    before = nn.Linear(3, 5)(torch.randn(4, 3))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda t: t):
        after = activation()(before)
    assert kept == [after.data_ptr()] == [before.data_ptr()]


def test_a_perceptron_learns_as_with_torch_s_elu():
    torch.manual_seed(0)
    own = Perceptron(6, (16, 8), 2)
    other = copy.deepcopy(own)
    for name, part in list(other.named_children()):
        if isinstance(part, nn.ELU):
            setattr(other, name, nn.ELU())
    x = torch.randn(32, 6)
    for network in (own, other):
        network(x).square().mean().backward()
    names = [f"{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")]
    assert list(own.state_dict()) == names
    for a, b in zip(own.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0.0, atol=1e-7)
    assert torch.equal(own(x), own(x))  # the input is left alone
