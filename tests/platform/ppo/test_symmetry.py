"""Learning from mirror images, and the loss between a policy and its own mirror image."""

import copy

import pytest
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo.symmetry import mirror_loss
from stridelab_envs.errors import ConfigError
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.mirror import TaskMirror
from stridelab_envs.registry import get_task

BOTH = {"algorithm__symmetry": {"augmentation": True, "mirror_loss_coef": 0.5}}


def policy_of(learner):
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def weights_of(learner):
    return {name: value.clone() for name, value in policy_of(learner).state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_mirror_loss_by_hand():
    """A head that pans by 0.3 is to pan by -0.3 in the mirror; it does so by -0.1 only."""
    mirror = TaskMirror(get_task("biped_walk"))
    mean = torch.zeros(2, 17, requires_grad=True)
    in_mirror = torch.zeros(2, 17)
    with torch.no_grad():
        mean[0, 0], in_mirror[0, 0] = 0.3, -0.1
        mean[1, 1], in_mirror[1, 9] = 0.7, 0.7  # right and left shoulder pitch agree
    in_mirror.requires_grad_()
    loss = mirror_loss(mirror, mean, in_mirror)
    assert loss.item() == pytest.approx(0.2**2 / 34)
    loss.backward()
    assert mean.grad is None
    assert in_mirror.grad[0, 0].item() == pytest.approx(2 * 0.2 / 34)
    assert in_mirror.grad.count_nonzero() == 1


def asymmetric(policy):
    """Move the weights away from where every policy is nearly its own mirror image."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    policy.update_normalizers({"policy": torch.randn(99, 48) * 2.0 + 1.0})


@pytest.mark.parametrize("augmentation", [True, False])
def test_loss_of_a_minibatch(build_pair, augmentation):
    """Against one written out: images follow the samples with equal advantages and old values."""
    runner, learner = build_pair(
        algorithm__symmetry={"augmentation": augmentation, "mirror_loss_coef": 0.5},
        algorithm__clip_param=0.1,
        algorithm__value_loss_coef=0.7,
        algorithm__entropy_coef=0.02,
    )
    asymmetric(policy_of(learner))
    rollout = runner.sample()
    batch = learner._prepare(rollout).rows(torch.arange(40))
    total, statistics = learner._loss(*batch_arguments(batch))

    policy, mirror = policy_of(learner), TaskMirror(get_task("biped_walk"))
    raw = rollout.obs["policy"].flatten(0, 1)[:40]
    own = policy.normalize({"policy": raw})["policy"]
    image = policy.normalize({"policy": mirror.frames("policy", raw)})["policy"]
    assert (own - image).abs().max() > 1.0
    obs, actions = own, batch.actions
    if augmentation:
        obs, actions = torch.cat([own, image]), torch.cat([actions, mirror.actions(actions)])
    times = 2 if augmentation else 1
    normal = torch.distributions.Normal(policy.actor(obs), policy.log_std.exp())
    ratio = (normal.log_prob(actions).sum(-1) - batch.logp.repeat(times)).exp()
    advantages = batch.advantages.repeat(times)
    gain = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages).mean()
    values = policy.critic(obs).squeeze(-1)
    old, targets = batch.values.repeat(times), batch.returns.repeat(times)
    moved = old + (values - old).clamp(-0.1, 0.1)
    error = torch.maximum((values - targets) ** 2, (moved - targets) ** 2).mean()
    difference = policy.actor(image) - mirror.actions(policy.actor(own))
    unlike = 0.5 * difference.square().mean()
    entropy = 17 * 1.4189385 + policy.log_std.sum()
    assert statistics["loss/policy"].item() == pytest.approx(-gain.item(), rel=1e-4)
    assert statistics["loss/value"].item() == pytest.approx(error.item(), rel=1e-4)
    assert statistics["loss/mirror"].item() == pytest.approx(unlike.item(), rel=1e-4)
    assert statistics["loss/mirror"].item() > 1e-3
    expected = -gain + 0.7 * error - 0.02 * entropy + unlike
    assert total.item() == pytest.approx(expected.item(), rel=1e-4)
    # What is reported of the policy is of the samples themselves.
    assert statistics["policy/ratio_max"].item() == pytest.approx(ratio[:40].max().item(), rel=1e-4)
    assert statistics["policy/ratio_mean"].item() == pytest.approx(ratio[:40].mean().item(), 1e-4)


def batch_arguments(batch):
    return (
        batch.obs,
        batch.actions,
        batch.logp,
        batch.advantages,
        batch.returns,
        batch.values,
        batch.images,
        batch.labels,
    )


def test_off_needs_no_mirror_and_changes_nothing(build_pair):
    runner, learner = build_pair()
    _, off = build_pair(algorithm__symmetry={"augmentation": False, "mirror_loss_coef": 0.0})
    rollout = runner.sample()
    assert learner._mirror is None
    assert learner._prepare(rollout).images == {}
    assert "loss/mirror" not in learner.update_rollout(rollout)
    off.update_rollout(rollout)
    assert_same(weights_of(off), weights_of(learner))


@pytest.mark.parametrize("settings", [{"augmentation": True}, {"mirror_loss_coef": 1.0}])
def test_each_alone_changes_what_is_learned(build_pair, settings):
    runner, learner = build_pair(algorithm__schedule="fixed")
    _, plain = build_pair(algorithm__schedule="fixed")
    _, changed = build_pair(algorithm__schedule="fixed", algorithm__symmetry=settings)
    rollout = runner.sample()
    for one in (learner, plain):
        one.update_rollout(rollout)
    changed.update_rollout(rollout)
    assert_same(weights_of(plain), weights_of(learner))
    assert not torch.equal(
        weights_of(changed)["actor.0.weight"], weights_of(plain)["actor.0.weight"]
    )


def test_mirror_loss_makes_the_policy_its_own_mirror_image(build_pair):
    runner, learner = build_pair(
        algorithm__symmetry={"mirror_loss_coef": 10.0},
        algorithm__schedule="fixed",
        algorithm__learning_rate=3e-3,
    )
    asymmetric(policy_of(learner))
    rollout = runner.sample()
    losses = [learner.update_rollout(rollout)["loss/mirror"] for _ in range(8)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_histories_are_mirrored_frame_by_frame(build_pair, tiny_estimator, precision):
    runner, learner = build_pair(
        **{key.replace(".", "__"): value for key, value in tiny_estimator.items()},
        **BOTH,
        algorithm__precision=precision,
    )
    runner.sample()
    rollout = runner.sample()  # episodes of 10 steps: begun before the rollout, and within it
    ids = torch.arange(rollout.env_steps)
    batch, windows = learner._prepare(rollout), rollout.windows()
    assert batch.images.keys() == {"policy", "critic"}
    mirror = TaskMirror(get_task("stroll"))
    for group, length in (("policy", 7), ("critic", 3)):
        frames = windows[group][ids].unflatten(1, (length, -1))
        expected = mirror.frames(group, frames).flatten(1)
        near = 2e-2 if precision == "bf16" else 0.0
        torch.testing.assert_close(
            batch.images[group][ids].float(), expected, rtol=near, atol=near / 2
        )
    assert learner.update_rollout(rollout)["loss/mirror"] > 0.0


def test_resuming_is_exact(build_pair):
    runner, learner = build_pair(**BOTH)
    learner.update_rollout(runner.sample())
    rollout = runner.sample()
    state = copy.deepcopy(learner.get_state())
    learner.update_rollout(rollout)
    _, other = build_pair(**BOTH)
    other.set_state(state)
    other.update_rollout(rollout)
    assert_same(weights_of(other), weights_of(learner))


def test_module_without_mirror_images_is_refused(tiny_experiment, hierarchical):
    with pytest.raises(ConfigError) as caught:
        tiny_experiment(**hierarchical, **BOTH)
    assert str(caught.value) == (
        "algorithm.symmetry: cannot be used with the module hierarchical: its actions have no "
        "mirror image"
    )


def far(state):
    return state.base_pos


def test_term_without_mirror_image_is_refused_when_symmetry_is_on(tiny_experiment, monkeypatch):
    from stridelab_envs.mdp import term_registry

    term_registry.term_names("observation")
    monkeypatch.setitem(term_registry._TABLES["observation"].functions, "far", far)
    added = {"task__observations": {"policy": {"far": {}}}}
    assert isinstance(
        tiny_experiment(**added).task_config().observations["policy"]["far"], ObservationTerm
    )
    with pytest.raises(ConfigError) as caught:
        tiny_experiment(**added, algorithm__symmetry__augmentation=True)
    assert str(caught.value) == (
        "task.observations.policy.far: far() does not say how it looks in the mirror, which "
        "algorithm.symmetry needs (see stridelab_envs.mdp.mirror.mirrored)"
    )
