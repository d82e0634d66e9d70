"""Rollouts of the high-level policy and what the learner makes of them."""

import pytest
import torch

from stridelab.modules.hierarchical_metrics import watchdog

ONCE = {"algorithm__num_epochs": 1, "algorithm__num_minibatches": 1}
"""A single update of a rollout: every ratio is that of the policy with itself."""


def dotted(values):
    return {key.replace(".", "__"): value for key, value in values.items()}


@pytest.mark.parametrize("residual_start", [0.0, 1.0])
@pytest.mark.parametrize("likelihood", ["executed", "document"])
@pytest.mark.parametrize("hold_command", [False, True])
def test_ratios_begin_at_one(build_pair, hierarchical, residual_start, likelihood, hold_command):
    runner, learner = build_pair(
        **dotted(hierarchical),
        **ONCE,
        model__residual__start=residual_start,
        model__likelihood=likelihood,
        model__hold_command=hold_command,
    )
    runner.sample()
    rollout = runner.sample()
    held = runner.module.action_shape.split_action(rollout.actions).held
    assert 0 < held.sum() < held.numel()
    metrics = learner.update_rollout(rollout)
    assert metrics["policy/ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["policy/ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["residual/clip"] == pytest.approx(0.05 if residual_start == 0.0 else 0.0)
    assert not [line for line in watchdog(metrics) if "ratio_max" in line]


def test_actions_sampled_anew_make_the_ratios_explode(build_pair, hierarchical):
    runner, learner = build_pair(**dotted(hierarchical), **ONCE)
    rollout = runner.sample()
    # The bug of the training document, section 6.2: act() again in the update.
    kind = runner.module.get_train_action_dist_cls()
    rollout.actions = kind.from_logits(rollout.dist_inputs).sample()
    metrics = learner.update_rollout(rollout)
    assert metrics["policy/ratio_max"] > 10.0
    assert any(line.startswith("policy/ratio_max is ") for line in watchdog(metrics))


def test_a_held_flag_that_is_lost_is_seen_in_the_ratios(build_pair, hierarchical):
    runner, learner = build_pair(**dotted(hierarchical), **ONCE)
    rollout = runner.sample()
    rollout.actions[..., 1] = 0.0
    # A uniform choice among four counts log(4) too much where the skill was held.
    ratios = learner.update_rollout(rollout)["policy/ratio_mean"]
    assert ratios < 0.7


def test_hold_goes_on_across_rollouts_and_ends_with_episodes(build_pair, hierarchical):
    runner, _ = build_pair(**dotted(hierarchical), model__hold_steps=3)
    rollouts = [runner.sample() for _ in range(3)]
    shape = runner.module.action_shape
    held = torch.cat([shape.split_action(rollout.actions).held for rollout in rollouts])
    ended = torch.cat([rollout.terminated | rollout.truncated for rollout in rollouts])
    assert ended.any()
    since = torch.zeros(8)
    for now, end in zip(held, ended, strict=True):
        assert torch.equal(now, (since % 3 != 0).float())
        since = (since + 1).masked_fill(end, 0.0)


def test_an_equal_runner_goes_on_from_the_saved_state(build_pair, hierarchical):
    first, _ = build_pair(**dotted(hierarchical))
    second, _ = build_pair(**dotted(hierarchical))
    first.sample()
    second.sample()
    second.sample()
    state = first.get_state()
    expected = first.sample().actions
    second.set_state(state)
    assert torch.equal(second.sample().actions, expected)


def test_learning_leaves_the_skills_as_they_are(build_pair, hierarchical):
    runner, learner = build_pair(**dotted(hierarchical), model__residual__start=0.0)
    policy = learner._policy
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    learner.update_rollout(runner.sample())
    changed = {n for n, value in policy.state_dict().items() if not torch.equal(value, before[n])}
    assert not [name for name in changed if name.startswith("skills.")]
    for head in ("gating", "command_mean", "command_log_std", "residual_mean", "residual_log_std"):
        assert f"{head}.weight" in changed


def test_the_first_phase_does_not_move_the_residual(build_pair, hierarchical):
    runner, learner = build_pair(**dotted(hierarchical), model__residual__start=1.0)
    before = learner._policy.residual_mean.weight.clone()
    learner.update_rollout(runner.sample())
    assert torch.equal(learner._policy.residual_mean.weight, before)


def test_learning_in_bfloat16(build_pair, hierarchical):
    runner, learner = build_pair(**dotted(hierarchical), **ONCE, algorithm__precision="bf16")
    metrics = learner.update_rollout(runner.sample())
    assert metrics["policy/ratio_max"] == pytest.approx(1.0, abs=1e-3)
