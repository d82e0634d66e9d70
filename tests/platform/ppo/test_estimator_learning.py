"""PPO with the module ``estimator``: its loss, its history, what is logged and kept."""

import copy
import math

import pytest
import ray
import torch
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID

from stridelab.algorithms.ppo import build_config
from stridelab.algorithms.ppo.config import module_spec
from stridelab.modules.estimator import Estimator
from stridelab.tracking.names import clean_metrics
from stridelab_envs.gym import StridelabEnv

DOCUMENT = {
    "algorithm__num_epochs": 2,
    "algorithm__num_minibatches": 4,
    "algorithm__gamma": 0.994,
    "algorithm__gae_lambda": 0.9,
    "algorithm__clip_param": 0.2,
    "algorithm__clip_value_loss": True,
    "algorithm__value_loss_coef": 1.0,
    "algorithm__entropy_coef": 0.001,
    "algorithm__max_grad_norm": 1.0,
    "algorithm__learning_rate": 1e-5,
    "algorithm__schedule": "adaptive",
    "algorithm__desired_kl": 0.01,
}
"""The document's settings; its batch is 98,304 steps."""
ONE_STEP = {
    **DOCUMENT,
    "algorithm__num_epochs": 1,
    "algorithm__num_minibatches": 1,
    "algorithm__schedule": "fixed",
}


@pytest.fixture
def estimator_pair(build_pair, tiny_estimator):
    def build(**values):
        return build_pair(**tiny_estimator, **values)

    return build


def policy_of(learner):
    return learner.module[DEFAULT_MODULE_ID].unwrapped()


def send_weights(learner, runner):
    runner.module.set_state(policy_of(learner).get_state(inference_only=True))


def stacked_by_hand(rollout, group, length):
    """Stacks ``(T + 1, N, length * size)`` by walking through the record, and the final ones."""
    past, frames = rollout.past[group], rollout.obs[group]
    ended = rollout.terminated | rollout.truncated
    finals = iter(rollout.final_obs[group])
    stacks = torch.zeros(len(frames), frames.shape[1], length * frames.shape[2])
    final_stacks = {}
    for env in range(frames.shape[1]):
        window = [*past[:, env], frames[0, env]]
        for t in range(len(frames)):
            stacks[t, env] = torch.cat(window)
            if t == len(ended):
                break
            if rollout.truncated[t, env]:
                final_stacks[t, env] = window[1:]
            window = [*window[1:], frames[t + 1, env]]
            if ended[t, env]:
                window = [frames[t + 1, env]] * length
    places = rollout.truncated.nonzero().tolist()
    last = [torch.cat([*final_stacks[t, env], next(finals)]) for t, env in places]
    return stacks, torch.stack(last)


def advantages_by_hand(rollout, values, final_values, gamma, lam):
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


def test_one_iterations_losses_written_by_hand(estimator_pair):
    """Every loss of an iteration, recomputed from the rollout with nothing of the learner's."""
    runner, learner = estimator_pair(**ONE_STEP, model__estimator_loss_coef=0.7)
    runner.sample()
    rollout = runner.sample()
    assert rollout.truncated.any()
    module = copy.deepcopy(policy_of(learner))
    obs, _ = stacked_by_hand(rollout, "policy", 7)
    privileged, final = stacked_by_hand(rollout, "critic", 3)
    with torch.no_grad():
        values = module.critic(privileged).squeeze(-1)
        final_values = module.critic(final).squeeze(-1)
        advantages = advantages_by_hand(rollout, values, final_values, 0.994, 0.9)
        targets = advantages + values[:-1]
        advantages = (advantages - advantages.mean()) / advantages.std()
        short = obs[:-1, :, -5 * 45 :]
        estimate = module.state_estimator(short)
        code = torch.nn.Sequential(*module.long_history)(obs[:-1].reshape(-1, 7, 45))
        code = code.view(*obs[:-1].shape[:2], 64)
        mean = module.actor(torch.cat([short, estimate, code], dim=-1))
        normal = torch.distributions.Normal(mean, module.std)
        ratio = (normal.log_prob(rollout.actions).sum(-1) - rollout.logp).exp()
    # Velocity in the newest of three frames of 24 (17 joint angles, 3 velocities, quaternion).
    error = estimate - privileged[:-1, :, 2 * 24 + 17 : 2 * 24 + 20]
    policy_loss = -(ratio * advantages).mean().item()
    value_loss = (values[:-1] - targets).square().mean().item()
    entropy_loss = -0.001 * normal.entropy().sum(-1).mean().item()
    estimator_loss = 0.7 * error.square().mean().item()
    metrics = learner.update_rollout(rollout)
    assert (ratio - 1.0).abs().max() < 1e-5
    assert metrics["loss/policy"] == pytest.approx(policy_loss, abs=1e-5)
    assert metrics["loss/value"] == pytest.approx(value_loss, rel=1e-4)
    assert metrics["loss/entropy"] == pytest.approx(entropy_loss, rel=1e-4)
    assert metrics["loss/estimator"] == pytest.approx(estimator_loss, rel=1e-4)
    total = policy_loss + value_loss + entropy_loss + estimator_loss
    assert metrics["loss/total"] == pytest.approx(total, rel=1e-4)
    rmse = error.square().sum(-1).mean().sqrt().item() / 2.0
    assert metrics["estimator/rmse"] == pytest.approx(rmse, rel=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_first_ratio_is_1(estimator_pair, monkeypatch, precision):
    """Before the first step, in every window: those that begin in the rollout before, too."""
    runner, learner = estimator_pair(
        **DOCUMENT | {"algorithm__learning_rate": 1e-2}, algorithm__precision=precision
    )
    learner.update_rollout(runner.sample())
    send_weights(learner, runner)
    batch = learner._prepare(runner.sample())
    with torch.no_grad(), learner._autocast():
        for rows in batch.shuffled(4, torch.Generator().manual_seed(0)):
            inputs = policy_of(learner).act(rows.obs["policy"])
            ratio = (learner._distribution(inputs).logp(rows.actions) - rows.logp).exp()
            assert (ratio - 1.0).abs().max() < 1e-5
    shift = runner.sample().logp.flatten().sub(batch.logp).abs().max()
    assert shift > 1e-3  # another rollout: the comparison above is not of constants


def test_the_plain_module_on_a_history(build_pair, tiny_estimator):
    """Its normaliser takes frames one by one; stacks of them are what it acts on."""
    runner, learner = build_pair(**{"task.id": "stroll"}, algorithm__learning_rate=1e-2)
    learner.update_rollout(runner.sample())
    send_weights(learner, runner)
    module = policy_of(learner)
    assert module.normalizers["policy"].count.item() == 128
    rollout = runner.sample()
    batch, rows = learner._prepare(rollout), torch.arange(128)
    for group, length in (("policy", 7), ("critic", 3)):
        stacks, _ = stacked_by_hand(rollout, group, length)
        raw = {group: stacks[:-1].flatten(0, 1)}
        assert torch.equal(batch.obs[group][rows], module.normalize(raw)[group])
    logp = learner._distribution(module.act(batch.obs["policy"][rows])).logp(batch.actions)
    assert (logp - batch.logp).exp().sub(1.0).abs().max() < 1e-5


def test_the_documents_settings_and_what_is_logged(estimator_pair):
    runner, learner = estimator_pair(**DOCUMENT)
    metrics = learner.update_rollout(runner.sample())
    assert {"loss/estimator", "estimator/rmse"} <= metrics.keys()
    assert clean_metrics(metrics)[0].keys() == metrics.keys()  # all of them finite, none unknown
    parts = ("loss/policy", "loss/value", "loss/entropy", "loss/estimator")
    assert metrics["loss/total"] == pytest.approx(sum(metrics[p] for p in parts), rel=1e-4)


def test_the_estimator_learns_the_velocity(estimator_pair):
    runner, learner = estimator_pair(algorithm__learning_rate=1e-2, algorithm__schedule="fixed")
    rollout = runner.sample()
    errors = [learner.update_rollout(rollout)["estimator/rmse"] for _ in range(15)]
    assert errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("coef", [0.0, 1.0])
def test_without_its_loss_a_detached_estimator_stays(estimator_pair, coef):
    runner, learner = estimator_pair(
        model__detach_estimate=True, model__estimator_loss_coef=coef, **ONE_STEP
    )
    before = policy_of(learner).state_estimator[0].weight.clone()
    learner.update_rollout(runner.sample())
    assert torch.equal(policy_of(learner).state_estimator[0].weight, before) == (coef == 0.0)


def test_stacks_exist_for_a_minibatch_only(estimator_pair, monkeypatch):
    from stridelab.modules.history import FrameWindows

    largest = []
    gather = FrameWindows.__getitem__

    def watched(self, ids):
        largest.append(len(ids))
        return gather(self, ids)

    runner, learner = estimator_pair(algorithm__num_minibatches=4, algorithm__precision="bf16")
    rollout = runner.sample()
    monkeypatch.setattr(FrameWindows, "__getitem__", watched)
    learner.update_rollout(rollout)
    assert max(largest) == (128 + 16) // 4  # the values of one more step are needed


def weights(algorithm):
    module = algorithm.get_module(DEFAULT_MODULE_ID)
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def build_algorithm(tiny_experiment, tiny_estimator, local_ray):
    algorithms = []

    def build(**values):
        experiment = tiny_experiment(**tiny_estimator, **values)
        algorithms.append(build_config(experiment, seed=3, num_threads=1).build_algo())
        return algorithms[-1]

    yield build
    for algorithm in algorithms:
        algorithm.stop()


@pytest.mark.ray
def test_resumed_equals_uninterrupted(build_algorithm, tmp_path):
    uninterrupted = build_algorithm(task__num_envs=8)
    for _ in range(2):
        uninterrupted.train()
    uninterrupted.save_to_path(str(tmp_path / "checkpoint"))
    for _ in range(2):
        uninterrupted.train()
    expected, metrics = weights(uninterrupted), uninterrupted.iteration_metrics
    resumed = build_algorithm(task__num_envs=8)
    resumed.train()  # leaves traces that restoring must wipe out
    resumed.restore_from_path(str(tmp_path / "checkpoint"))
    for _ in range(2):
        resumed.train()
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    assert resumed.iteration_metrics["estimator/rmse"] == metrics["estimator/rmse"]


@pytest.mark.ray
def test_remote_runners_send_their_past_once(build_algorithm, monkeypatch):
    algorithm = build_algorithm(resources__env_runners=2)
    seen = []
    complete = algorithm._past_frames.complete

    def watched(rollouts):
        seen.append([sorted(rollout.past) for rollout in rollouts])
        return complete(rollouts)

    monkeypatch.setattr(algorithm._past_frames, "complete", watched)
    for _ in range(3):
        algorithm.train()
        assert math.isfinite(algorithm.iteration_metrics["loss/estimator"])
    assert seen == [[["critic", "policy"]] * 2, [[], []], [[], []]]


@pytest.mark.ray
@pytest.mark.slow
def test_stock_rllib_adds_the_modules_loss(tiny_experiment, tiny_estimator, local_ray):
    """RLlib's own learner and runner, on stacked observations; nothing else moves the estimator."""
    experiment = tiny_experiment(**tiny_estimator, model__detach_estimate=True)
    tune.register_env("stroll", lambda config: StridelabEnv("stroll", {"episode_length_s": 0.2}))
    config = (
        PPOConfig()
        .environment("stroll")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .rl_module(rl_module_spec=module_spec(experiment.model, experiment.task_config()))
        .training(train_batch_size=64, minibatch_size=32, num_epochs=2)
        .debugging(seed=0)
    )
    assert ray.is_initialized()
    algorithm = config.build_algo()
    try:
        module = algorithm.get_module()
        assert isinstance(module, Estimator)
        before = module.state_estimator[0].weight.clone()
        learned = algorithm.train()["learners"][DEFAULT_MODULE_ID]
        assert learned["estimator_loss"] > 0.0
        assert math.isfinite(learned["policy_loss"] + learned["vf_loss"])
        assert not before.equal(algorithm.get_module().state_estimator[0].weight)
    finally:
        algorithm.stop()
