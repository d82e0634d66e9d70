"""The learner on real rollouts of the biped."""

import copy
import math

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo.learner import NonFiniteLossError
from stridelab.algorithms.ppo.losses import adapted_learning_rate


def policy_of(learner):
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def weights_of(learner):
    return {name: value.clone() for name, value in policy_of(learner).state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture
def watched(monkeypatch):
    """Record how far each minibatch's ratios are from 1 before its step."""

    def watch(learner):
        seen = []
        update = learner._update_minibatch

        def recorded(batch):
            with torch.no_grad(), learner._autocast():
                inputs = policy_of(learner).act(batch.obs["policy"])
                logp = learner._distribution(inputs).logp(batch.actions)
            seen.append((logp - batch.logp).exp().sub(1.0).abs().max().item())
            return update(batch)

        monkeypatch.setattr(learner, "_update_minibatch", recorded)
        return seen

    return watch


ONE_BATCH = {
    "algorithm__num_epochs": 1,
    "algorithm__num_minibatches": 1,
    "algorithm__schedule": "fixed",
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("minibatches", [1, 2])
def test_ratio_is_1_before_the_first_step(build_pair, watched, precision, minibatches):
    """What was sampled is what is stored, so the first minibatch compares equal policies."""
    runner, learner = build_pair(
        algorithm__precision=precision,
        algorithm__num_minibatches=minibatches,
        algorithm__learning_rate=1e-2,
    )
    # A first update moves weights and normaliser away from where everything is near zero.
    learner.update_rollout(runner.sample())
    runner.module.set_state(policy_of(learner).get_state(inference_only=True))
    seen = watched(learner)
    learner.update_rollout(runner.sample())
    assert seen[0] < 1e-5
    assert seen[-1] > 1e-3


@pytest.mark.parametrize(("precision", "least", "most"), [("fp32", 0, 0), ("bf16", 1e-3, 1)])
def test_bf16_has_old_logps_of_its_own(build_pair, precision, least, most):
    """Why they are evaluated again: those of sampling differ by far more than rounding."""
    runner, learner = build_pair(algorithm__precision=precision, algorithm__learning_rate=1e-2)
    learner.update_rollout(runner.sample())
    runner.module.set_state(policy_of(learner).get_state(inference_only=True))
    rollout = runner.sample()
    shift = (learner._prepare(rollout).logp - rollout.logp.flatten()).abs().max()
    assert least <= shift <= most


def discounted(rollout, values, final_values, gamma, lam):
    """Advantages by a plain loop over environments and steps."""
    steps, envs = rollout.rewards.shape
    ends = {tuple(place): i for i, place in enumerate(rollout.truncated.nonzero().tolist())}
    out = torch.zeros(steps, envs)
    for env in range(envs):
        running = 0.0
        for t in reversed(range(steps)):
            follows = values[t + 1, env].item()
            if rollout.terminated[t, env]:
                follows, running = 0.0, 0.0
            elif (t, env) in ends:
                follows, running = final_values[ends[t, env]].item(), 0.0
            delta = rollout.rewards[t, env].item() + gamma * follows - values[t, env].item()
            running = delta + gamma * lam * running
            out[t, env] = running
    return out


def test_one_update_equals_ppo_written_by_hand(build_pair):
    """Three steps on one batch: ratio 1 in the first, clipped here and there in the others."""
    runner, learner = build_pair(
        **(ONE_BATCH | {"algorithm__num_epochs": 3}),
        algorithm__learning_rate=3e-3,
        algorithm__gamma=0.9,
        algorithm__gae_lambda=0.8,
        algorithm__clip_param=0.05,
        algorithm__value_loss_coef=0.5,
        algorithm__entropy_coef=0.02,
        algorithm__max_grad_norm=0.3,
    )
    policy_of(learner).update_normalizers({"policy": torch.randn(99, 48) * 2.0 + 1.0})
    runner.module.set_state(policy_of(learner).get_state(inference_only=True))
    rollout = runner.sample()
    reference = copy.deepcopy(policy_of(learner))
    statistics = reference.normalizers["policy"]

    def scaled(obs):
        return ((obs - statistics.mean) / (statistics.var.sqrt() + 0.01)).clamp(-10.0, 10.0)

    obs = scaled(rollout.obs["policy"])
    with torch.no_grad():
        values = reference.critic(obs).squeeze(-1)
        final_values = reference.critic(scaled(rollout.final_obs["policy"])).squeeze(-1)
        advantages = discounted(rollout, values, final_values, 0.9, 0.8)
    targets = advantages + values[:-1]
    advantages = (advantages - advantages.mean()) / advantages.std()
    optimizer = torch.optim.Adam(reference.parameters(), lr=3e-3)
    fractions = []
    for _ in range(3):
        normal = torch.distributions.Normal(reference.actor(obs[:-1]), reference.log_std.exp())
        ratio = (normal.log_prob(rollout.actions).sum(-1) - rollout.logp).exp()
        clipped = ratio.clamp(0.95, 1.05)
        gain = torch.minimum(ratio * advantages, clipped * advantages).mean()
        now = reference.critic(obs[:-1]).squeeze(-1)
        moved = values[:-1] + (now - values[:-1]).clamp(-0.05, 0.05)
        error = torch.maximum((now - targets) ** 2, (moved - targets) ** 2).mean()
        loss = -gain + 0.5 * error - 0.02 * normal.entropy().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in reference.parameters()))
        for parameter in reference.parameters():
            parameter.grad *= min(1.0, 0.3 / norm.item())
        optimizer.step()
        fractions.append((ratio != clipped).float().mean().item())
    before = dict(policy_of(learner).named_parameters())
    before = {name: value.detach().clone() for name, value in before.items()}
    metrics = learner.update_rollout(rollout)
    assert rollout.truncated.any()
    assert fractions[0] == 0.0 < fractions[1]
    assert metrics["policy/clip_fraction"] == pytest.approx(sum(fractions) / 3, abs=1e-3)
    for name, value in policy_of(learner).named_parameters():
        expected = dict(reference.named_parameters())[name]
        # A step moves a weight by about the learning rate; they agree to a hundredth of one.
        torch.testing.assert_close(value, expected, rtol=0.0, atol=3e-5)
        assert (value - before[name]).abs().max() > 1e-3, name


def test_metrics(build_pair):
    runner, learner = build_pair()
    metrics = learner.update_rollout(runner.sample())
    assert metrics.keys() == {
        *("loss/policy", "loss/value", "loss/entropy", "loss/total"),
        *("policy/std", "policy/entropy", "policy/approx_kl", "policy/clip_fraction"),
        *("policy/ratio_mean", "policy/ratio_max"),
        *("policy/learning_rate", "value/explained_variance"),
    }
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["loss/total"] == pytest.approx(
        metrics["loss/policy"] + metrics["loss/value"] + metrics["loss/entropy"], rel=1e-4
    )
    assert metrics["policy/std"] == pytest.approx(1.0, abs=0.05)
    # 17 joints of std 1: half of 1 + ln(2 pi) each.
    assert metrics["policy/entropy"] == pytest.approx(17 * 1.41894, abs=0.5)
    assert metrics["loss/entropy"] == pytest.approx(-0.01 * metrics["policy/entropy"], rel=1e-4)


def test_learns_a_rewarded_action(build_pair):
    """Rewarding the first joint's action raises its mean and teaches the critic."""
    runner, learner = build_pair(algorithm__learning_rate=1e-2, algorithm__entropy_coef=0.0)
    means, errors = [], []
    for _ in range(6):
        rollout = runner.sample()
        rollout.rewards = rollout.actions[..., 0].clone()
        errors.append(learner.update_rollout(rollout)["loss/value"])
        runner.module.set_state(policy_of(learner).get_state(inference_only=True))
        means.append(rollout.dist_inputs[..., 0].mean().item())
    assert means[-1] > means[0] + 0.2


def test_nan_reward_leaves_the_weights_as_they_were(build_pair):
    runner, learner = build_pair()
    learner.update_rollout(runner.sample())
    before = weights_of(learner)
    moments = copy.deepcopy(learner._optimizer.state_dict()["state"])
    rollout = runner.sample()
    rollout.rewards[2, 3] = math.nan
    with pytest.raises(NonFiniteLossError, match="learning rate") as caught:
        learner.update_rollout(rollout)
    assert "\n" not in str(caught.value)
    assert_same(weights_of(learner), before)
    for index, values in learner._optimizer.state_dict()["state"].items():
        assert_same(values, moments[index])
    # The next good rollout goes on from there.
    assert math.isfinite(learner.update_rollout(runner.sample())["loss/total"])


def test_normaliser_changes_only_after_the_epochs(build_pair, monkeypatch):
    runner, learner = build_pair()
    seen = []
    update = learner._update_minibatch

    def recorded(batch):
        seen.append(policy_of(learner).normalizers["policy"].count.item())
        return update(batch)

    monkeypatch.setattr(learner, "_update_minibatch", recorded)
    rollout = runner.sample()
    learner.update_rollout(rollout)
    statistics = policy_of(learner).normalizers["policy"]
    assert seen == [0.0] * 4  # two epochs of two minibatches
    # The observations acted on, 8 steps of 16 environments; not the one after, which comes again.
    assert statistics.count.item() == 128
    acted_on = rollout.obs["policy"][:-1].flatten(0, 1)
    torch.testing.assert_close(statistics.mean, acted_on.mean(0), atol=1e-5, rtol=1e-4)


def test_learning_rate_follows_the_divergence_of_each_minibatch(build_pair, monkeypatch):
    runner, learner = build_pair(algorithm__learning_rate=2e-3, algorithm__desired_kl=0.01)
    kls, rates = [], []
    update = learner._update_minibatch

    def recorded(batch):
        out = update(batch)
        kls.append(float(out["policy/approx_kl"]))
        rates.append(learner._optimizer.param_groups[0]["lr"])
        return out

    monkeypatch.setattr(learner, "_update_minibatch", recorded)
    for _ in range(3):
        metrics = learner.update_rollout(runner.sample())
    expected = 2e-3
    for kl, rate in zip(kls, rates, strict=True):
        expected = adapted_learning_rate(expected, kl, 0.01)
        assert rate == pytest.approx(expected)
    assert len(set(rates)) > 1
    assert metrics["policy/learning_rate"] == pytest.approx(rates[-1])


def test_fixed_learning_rate(build_pair):
    runner, learner = build_pair(algorithm__schedule="fixed", algorithm__learning_rate=2e-3)
    for _ in range(2):
        assert learner.update_rollout(runner.sample())["policy/learning_rate"] == 2e-3
    assert learner._optimizer.param_groups[0]["lr"] == 2e-3


def test_minibatches_are_a_partition_in_another_order_each_epoch(build_pair, monkeypatch):
    runner, learner = build_pair()
    rollout, seen = runner.sample(), []
    rollout.logp = torch.arange(128.0).reshape(8, 16)  # every row is known by its number
    monkeypatch.setattr(
        learner,
        "_update_minibatch",
        lambda batch: (
            seen.append(batch.logp.long().tolist()) or {"policy/ratio_max": torch.ones(())}
        ),
    )
    learner.update_rollout(rollout)
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == list(range(128))
    assert first != second
    assert [len(rows) for rows in seen] == [64] * 4


def test_state_restores_learning_rate_optimiser_and_generator(build_pair):
    runner, learner = build_pair(algorithm__learning_rate=2e-3)
    for _ in range(2):
        learner.update_rollout(runner.sample())
    rollout = runner.sample()
    state = copy.deepcopy(learner.get_state())
    learner.update_rollout(rollout)
    _, other = build_pair(algorithm__learning_rate=2e-3)
    other.set_state(state)
    assert state["stridelab"]["learning_rate"] != 2e-3
    assert other._optimizer.param_groups[0]["lr"] == state["stridelab"]["learning_rate"]
    other.update_rollout(rollout)
    # Equal weights after one more rollout: learning rate, Adam's moments and the order of
    # minibatches are all those of the learner that was saved.
    assert_same(weights_of(other), weights_of(learner))


def test_state_without_the_optimiser_holds_weights_only(build_pair):
    _, learner = build_pair()
    state = learner.get_state(components="rl_module")
    assert "stridelab" not in state
    learner.set_state(state)


def test_a_linear_learning_rate_falls_to_nothing_and_is_restored(build_pair):
    values = {"algorithm__schedule": "linear", "algorithm__learning_rate": 2e-3}
    runner, learner = build_pair(**values)
    rates = []
    for fraction in (0.0, 0.25, 1.0):
        learner.set_progress(fraction)
        rates.append(learner.update_rollout(runner.sample())["policy/learning_rate"])
    assert rates == pytest.approx([2e-3, 1.5e-3, 0.0])
    learner.set_progress(0.5)
    [group] = learner._optimizer.param_groups
    assert group["lr"] == pytest.approx(1e-3)
    _, resumed = build_pair(**values)
    resumed.set_state(learner.get_state())
    assert resumed._learning_rate == pytest.approx(1e-3)
