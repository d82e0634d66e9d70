"""The same RLModule under RLlib's own PPO, learner and environment runner."""

import math

import pytest
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig

from stridelab.algorithms.ppo.config import module_spec
from stridelab.modules.actor_critic import ActorCritic
from stridelab_envs.gym import StridelabEnv

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def test_two_iterations(tiny_experiment):
    experiment = tiny_experiment()
    overrides = {"episode_length_s": 0.2}
    tune.register_env("biped", lambda config: StridelabEnv("biped_walk", overrides))
    config = (
        PPOConfig()
        .environment("biped")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        .rl_module(rl_module_spec=module_spec(experiment.model, experiment.task_config()))
        .training(train_batch_size=64, minibatch_size=32, num_epochs=2)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    try:
        module = algorithm.get_module()
        assert isinstance(module, ActorCritic)
        before = module.actor[0].weight.clone()
        for _ in range(2):
            result = algorithm.train()
        learned = result["learners"]["default_policy"]
        for name in ("policy_loss", "vf_loss", "entropy", "mean_kl_loss"):
            assert math.isfinite(learned[name]), name
        assert not before.equal(algorithm.get_module().actor[0].weight)
        assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 2 * 64
        assert math.isfinite(result["env_runners"]["episode_return_mean"])
    finally:
        algorithm.stop()
