"""Probabilities of high-level actions against numbers worked out by hand."""

import math

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from stridelab.modules.hierarchical_distribution import (
    ActionShape,
    HierarchicalDistribution,
    HighLevelAction,
)

USED = (
    (True, False, False, False, False, False),
    (False, True, True, False, False, False),
    (False, False, False, True, False, False),  # the number after it is spare
    (False, False, False, False, False, True),
)
SHAPE = ActionShape(used=USED, num_actions=2)
PROBABILITIES = [0.4, 0.3, 0.2, 0.1]
MEAN = [0.0, 1.0, -1.0, 2.0, 5.0, 0.0]
STD = [1.0, 2.0, 0.5, 1.0, 3.0, 0.25]
RESIDUAL_MEAN, RESIDUAL_STD = [0.0, 0.1], [0.1, 0.2]
COMMAND = [1.0, 3.0, -1.0, 7.0, 5.0, -0.5]
"""1, 1, 0, 5, 0 and 2 standard deviations from the means."""
RESIDUAL = [0.1, 0.1]  # 1 and 0 standard deviations
HALF_LOG_TWO_PI = 0.9189385332

SLICE = {
    0: -0.5 - HALF_LOG_TWO_PI,
    1: (-0.5 - math.log(2.0)) + math.log(2.0) - 2 * HALF_LOG_TWO_PI,
    2: -12.5 - HALF_LOG_TWO_PI,
    3: -2.0 + math.log(4.0) - HALF_LOG_TWO_PI,
}
"""Log-density of the numbers each skill reads."""
RESIDUAL_LOGP = (-0.5 + math.log(10.0)) + math.log(5.0) - 2 * HALF_LOG_TWO_PI


def distribution(*, held=0.0, skill=0.0, residual_on=0.0, shape=SHAPE, shift=0.0):
    inputs = [
        *(math.log(p) for p in PROBABILITIES),
        *(m + shift for m in MEAN),
        *(math.log(s) for s in STD),
        *RESIDUAL_MEAN,
        *(math.log(s) for s in RESIDUAL_STD),
        *(held, skill, residual_on),
    ]
    return HierarchicalDistribution.shaped(shape).from_logits(torch.tensor([inputs]))


def action(skill, held, command=COMMAND):
    return SHAPE.join_action(
        HighLevelAction(
            torch.tensor([skill]),
            torch.tensor([held]),
            torch.tensor([command]),
            torch.tensor([RESIDUAL]),
        )
    )


@pytest.mark.parametrize("skill", [0, 1, 2, 3])
@pytest.mark.parametrize("held", [0.0, 1.0])
@pytest.mark.parametrize("residual_on", [0.0, 1.0])
def test_log_probability(skill, held, residual_on):
    expected = SLICE[skill]
    if not held:
        expected += math.log(PROBABILITIES[skill])
    if residual_on:
        expected += RESIDUAL_LOGP
    found = distribution(residual_on=residual_on).logp(action(skill, held))
    assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("residual_on", [0.0, 1.0])
def test_a_command_that_is_held_does_not_count(residual_on):
    shape = ActionShape(used=USED, num_actions=2, hold_command=True)
    inputs = distribution(held=1.0, skill=1.0, shape=shape, residual_on=residual_on)
    assert inputs.logp(action(1, 1.0)).item() == pytest.approx(residual_on * RESIDUAL_LOGP)
    assert inputs.entropy().item() == pytest.approx(residual_on * entropies()[2])
    other = distribution(held=1.0, skill=1.0, shape=shape, residual_on=residual_on, shift=1.0)
    assert inputs.kl(other).item() == 0.0
    free, plain = distribution(shape=shape), distribution()
    assert free.logp(action(1, 0.0)) == plain.logp(action(1, 0.0))
    assert free.entropy() == plain.entropy()


def test_numbers_nobody_reads_do_not_count():
    odd = [*COMMAND[:4], 900.0, COMMAND[5]]
    assert distribution().logp(action(2, 0.0, odd)) == distribution().logp(action(2, 0.0))


def test_the_literal_rule_counts_the_residual_always():
    literal = ActionShape(used=USED, num_actions=2, literal=True)
    found = distribution(shape=literal).logp(action(0, 1.0))
    assert found.item() == pytest.approx(SLICE[0] + RESIDUAL_LOGP, abs=1e-5)


def test_log_probabilities_are_bounded():
    far = [50.0, *COMMAND[1:]]
    assert distribution().logp(action(0, 0.0, far)).item() == -100.0


def entropies():
    gating = -sum(p * math.log(p) for p in PROBABILITIES)
    command = [0.5 + HALF_LOG_TWO_PI + math.log(s) for s in STD]
    residual = sum(0.5 + HALF_LOG_TWO_PI + math.log(s) for s in RESIDUAL_STD)
    return gating, command, residual


def test_entropy_where_a_skill_is_chosen():
    gating, command, _ = entropies()
    expected = gating + 0.4 * command[0] + 0.3 * (command[1] + command[2])
    expected += 0.2 * command[3] + 0.1 * command[5]
    assert distribution().entropy().item() == pytest.approx(expected, abs=1e-5)


def test_entropy_where_a_skill_is_held():
    _, command, residual = entropies()
    found = distribution(held=1.0, skill=1.0, residual_on=1.0).entropy().item()
    assert found == pytest.approx(command[1] + command[2] + residual, abs=1e-5)


def test_literal_entropy_counts_everything():
    gating, command, residual = entropies()
    literal = ActionShape(used=USED, num_actions=2, literal=True)
    found = distribution(held=1.0, shape=literal).entropy().item()
    assert found == pytest.approx(gating + sum(command) + residual, abs=1e-5)


def test_entropy_is_the_mean_surprise():
    torch.manual_seed(0)
    inputs = distribution(residual_on=1.0)
    many = HierarchicalDistribution.shaped(SHAPE)(
        type(inputs.heads)(*(t.expand(200_000, *t.shape[1:]) for t in inputs.heads))
    )
    surprise = -many.logp(many.sample()).mean().item()
    assert surprise == pytest.approx(inputs.entropy().item(), abs=0.02)


def test_divergence_of_equals_is_zero():
    assert distribution().kl(distribution()).item() == 0.0


def test_divergence_where_a_skill_is_held():
    found = distribution(held=1.0, skill=1.0).kl(distribution(held=1.0, skill=1.0, shift=1.0))
    # Equal spreads: half the squared distance in standard deviations.
    assert found.item() == pytest.approx(0.5 * (1 / 2.0) ** 2 + 0.5 * (1 / 0.5) ** 2, abs=1e-5)


def test_divergence_where_a_skill_is_chosen():
    mine, other = distribution(residual_on=1.0), distribution(residual_on=1.0, shift=1.0)
    other.heads.logits.zero_()
    expected = kl_divergence(Categorical(torch.tensor(PROBABILITIES)), Categorical(torch.ones(4)))
    for place, probability in ((0, 0.4), (1, 0.3), (2, 0.3), (3, 0.2), (5, 0.1)):
        spread = STD[place]
        expected += probability * kl_divergence(
            Normal(MEAN[place], spread), Normal(MEAN[place] + 1.0, spread)
        )
    assert mine.kl(other).item() == pytest.approx(expected.item(), abs=1e-5)


def test_samples_follow_the_probabilities():
    torch.manual_seed(0)
    heads = distribution().heads
    many = HierarchicalDistribution.shaped(SHAPE)(
        type(heads)(*(t.expand(20_000, *t.shape[1:]) for t in heads))
    )
    drawn = SHAPE.split_action(many.sample())
    shares = torch.bincount(drawn.skill).float() / 20_000
    torch.testing.assert_close(shares, torch.tensor(PROBABILITIES), atol=0.015, rtol=0.0)
    torch.testing.assert_close(drawn.command.mean(0), torch.tensor(MEAN), atol=0.1, rtol=0.0)
    torch.testing.assert_close(drawn.residual.std(0), torch.tensor(RESIDUAL_STD), atol=0.01, rtol=0)


def test_a_held_skill_is_kept():
    held = distribution(held=1.0, skill=2.0)
    for found in (held.sample(), held.mode(), held.to_deterministic().sample()):
        assert SHAPE.split_action(found).skill.item() == 2
        assert SHAPE.split_action(found).held.item() == 1.0


def test_the_mode_is_the_likeliest_skill_and_the_means():
    mode = SHAPE.split_action(distribution().mode())
    assert mode.skill.item() == 0
    assert mode.command.tolist() == [MEAN]
    assert mode.residual.tolist() == [pytest.approx(RESIDUAL_MEAN)]


def test_actions_and_inputs_keep_a_time_axis():
    inputs = torch.randn(3, 4, SHAPE.input_size)
    inputs[..., -3:] = 0.0
    found = HierarchicalDistribution.shaped(SHAPE).from_logits(inputs)
    drawn = found.sample()
    assert drawn.shape == (3, 4, SHAPE.action_size)
    flat = HierarchicalDistribution.shaped(SHAPE).from_logits(inputs.flatten(0, 1))
    torch.testing.assert_close(found.logp(drawn).flatten(), flat.logp(drawn.flatten(0, 1)))


def test_sampling_with_a_gradient_is_refused():
    with pytest.raises(TypeError, match="cannot be sampled with a gradient"):
        distribution().rsample()
