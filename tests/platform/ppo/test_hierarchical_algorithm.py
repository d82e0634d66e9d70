"""The high-level policy under the algorithm, in another process, and under RLlib's own PPO."""

import math

import pytest
import torch
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns

from stridelab.algorithms.ppo import build_config
from stridelab.algorithms.ppo.config import module_spec
from stridelab.modules.hierarchical import Hierarchical
from stridelab_envs.gym import StridelabEnv

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

HALF = {"train__env_steps": 128, "model__residual__start": 0.5}
"""The second phase begins after the first of two iterations."""


@pytest.fixture
def build(tiny_experiment, hierarchical):
    algorithms = []

    def build_algorithm(**values):
        experiment = tiny_experiment(**hierarchical, **values)
        algorithms.append(build_config(experiment, seed=3, num_threads=1).build_algo())
        return algorithms[-1]

    yield build_algorithm
    for algorithm in algorithms:
        algorithm.stop()


def learner_module(algorithm):
    return algorithm.learner_group._learner.module[DEFAULT_MODULE_ID].unwrapped()


def assert_probabilities_are_known_again(module, rollout):
    obs = {group: value[:-1].flatten(0, 1) for group, value in rollout.obs.items()}
    actions = rollout.actions.flatten(0, 1)
    with torch.no_grad():
        out = module.forward_train({Columns.OBS: obs, Columns.ACTIONS: actions})
        kind = module.get_train_action_dist_cls()
        logp = kind.from_logits(out[Columns.ACTION_DIST_INPUTS]).logp(actions)
    torch.testing.assert_close(logp, rollout.logp.flatten(), atol=1e-5, rtol=1e-5)


def test_the_phase_changes_for_learner_and_runner_and_is_restored(build, tmp_path):
    algorithm = build(**HALF)
    runner = algorithm.env_runner_group.local_env_runner
    algorithm.train()
    assert algorithm.iteration_metrics["residual/clip"] == 0.0
    for module in (runner.module, learner_module(algorithm)):
        assert module.residual_clip.item() == pytest.approx(0.05)
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.train()
    expected = algorithm.iteration_metrics
    assert expected["residual/clip"] == pytest.approx(0.05)

    resumed = build(**HALF)
    resumed.restore_from_path(str(tmp_path / "checkpoint"))
    for module in (
        resumed.env_runner_group.local_env_runner.module,
        learner_module(resumed),
    ):
        assert module.residual_clip.item() == pytest.approx(0.05)
    resumed.train()
    for name, value in resumed.iteration_metrics.items():
        if not name.startswith("perf/"):
            assert value == expected[name], name


def test_a_remote_runner_samples_with_the_learners_probabilities(build):
    # Updates too small to move a ratio: what is left is the difference between the processes.
    settings = {"algorithm__learning_rate": 1e-7, "algorithm__schedule": "fixed"}
    algorithm = build(**HALF, **settings, resources__env_runners=1)
    for _ in range(2):
        algorithm.train()
        assert algorithm.iteration_metrics["policy/ratio_max"] == pytest.approx(1.0, abs=1e-3)
    [rollout] = algorithm._sample()
    module = learner_module(algorithm)
    assert module.action_shape.split_inputs(rollout.dist_inputs).residual_on.all()
    assert_probabilities_are_known_again(module, rollout)


@pytest.mark.slow
def test_two_iterations_under_stock_rllib(tiny_experiment, hierarchical):
    experiment = tiny_experiment(**hierarchical, model__residual__start=0.0)
    tune.register_env("errand", lambda config: StridelabEnv("errand"))
    config = (
        PPOConfig()
        .environment("errand", normalize_actions=False, clip_actions=False)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .rl_module(rl_module_spec=module_spec(experiment.model, experiment.task_config()))
        .training(train_batch_size=64, minibatch_size=32, num_epochs=2)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    try:
        assert isinstance(algorithm.get_module(), Hierarchical)
        before = algorithm.get_module().gating.weight.clone()
        for _ in range(2):
            learned = algorithm.train()["learners"]["default_policy"]
            for name in ("policy_loss", "vf_loss", "entropy", "mean_kl_loss"):
                assert math.isfinite(learned[name]), name
        module = algorithm.get_module()
        assert not torch.equal(module.gating.weight, before)
        [episode, *_] = algorithm.env_runner.sample(num_timesteps=24, random_actions=False)
        # The runner's own module only acts; the learner's can look back.
        [learned] = algorithm.learner_group.foreach_learner(
            lambda learner: learner.module["default_policy"].unwrapped()
        )
        assert_stock_episode_is_known_again(learned.get(), episode)
    finally:
        algorithm.stop()


def assert_stock_episode_is_known_again(module, episode):
    steps = len(episode)
    obs = {
        group: torch.as_tensor(value)[:steps] for group, value in episode.get_observations().items()
    }
    actions = torch.as_tensor(episode.get_actions())
    held = module.action_shape.split_action(actions).held
    # What was sampled may begin within an episode that the training has left running.
    assert held.tolist() in [[float((t + s) % 3 != 0) for t in range(steps)] for s in range(3)]
    with torch.no_grad():
        out = module.forward_train({Columns.OBS: obs, Columns.ACTIONS: actions})
        kind = module.get_train_action_dist_cls()
        logp = kind.from_logits(out[Columns.ACTION_DIST_INPUTS]).logp(actions)
    sampled = torch.as_tensor(episode.get_extra_model_outputs(Columns.ACTION_LOGP))
    torch.testing.assert_close(logp, sampled, atol=1e-5, rtol=1e-5)
