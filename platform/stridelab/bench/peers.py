"""Contenders from elsewhere: rsl_rl, stock RLlib and Stable-Baselines3 on the same workload.

Each is set up as its documentation advises and gets the workload's settings as far as it knows
them. rsl_rl and Stable-Baselines3 are optional (``pip install 'stridelab[bench]'``), hence they
are imported by name, and only in the process that runs them.
"""

from __future__ import annotations

import multiprocessing
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
import torch

from stridelab.bench.contender import Contender
from stridelab.bench.training import start_ray
from stridelab.bench.workload import (
    HIDDEN,
    MODEL,
    SEED,
    SETTINGS,
    TASK_ID,
    bench_env,
    register,
)
from stridelab_envs.gym import StridelabEnv, StridelabVectorEnv

POLICY = "policy"


class RslRlTraining(Contender):
    """``OnPolicyRunner.learn`` for one iteration.

    Args:
        num_envs: Environments.
        num_threads: Physics threads.
        precision: ``bf16`` for rsl_rl's mixed precision, else ``fp32``.
        compiled: Compile the networks; needs a C++ compiler.
    """

    def __init__(
        self, num_envs: int, num_threads: int, precision: str, compiled: bool = False
    ) -> None:
        torch.manual_seed(SEED)
        network = {
            "class_name": "MLPModel",
            "hidden_dims": list(HIDDEN),
            "activation": MODEL.activation,
            "obs_normalization": MODEL.normalize_observations,
        }
        config = {
            "num_steps_per_env": SETTINGS.num_steps_per_env,
            "save_interval": 10**9,
            "check_for_nan": False,
            "torch_compile_mode": "default" if compiled else None,
            "obs_groups": {"actor": [POLICY], "critic": [POLICY]},
            "actor": {
                **network,
                "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 1.0},
            },
            "critic": network,
            "algorithm": {
                "class_name": "PPO",
                "num_learning_epochs": SETTINGS.num_epochs,
                "num_mini_batches": SETTINGS.num_minibatches,
                "clip_param": SETTINGS.clip_param,
                "gamma": SETTINGS.gamma,
                "lam": SETTINGS.gae_lambda,
                "value_loss_coef": SETTINGS.value_loss_coef,
                "entropy_coef": SETTINGS.entropy_coef,
                "learning_rate": SETTINGS.learning_rate,
                "max_grad_norm": SETTINGS.max_grad_norm,
                "use_clipped_value_loss": SETTINGS.clip_value_loss,
                "schedule": SETTINGS.schedule,
                "desired_kl": SETTINGS.desired_kl,
                "use_mixed_precision": precision == "bf16",
            },
        }
        runner = import_module("rsl_rl.runners").OnPolicyRunner
        env = import_module("stridelab_envs.adapters.rsl_rl").RslRlEnv(
            bench_env(num_envs, num_threads)
        )
        self.runner = runner(env, config, log_dir=None, device="cpu")
        self.env_steps = num_envs * SETTINGS.num_steps_per_env

    def run(self) -> int:
        """Train one iteration."""
        self.runner.learn(num_learning_iterations=1)
        return self.env_steps


class NextStepVectorEnv(StridelabVectorEnv):
    """A flat vector environment as RLlib's runner expects it.

    The runner takes the observation that comes with the end of an episode for the last one, and
    the one after for the first of the next episode, whose first step it therefore never sees.
    """

    def __init__(self, num_envs: int, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        register()
        super().__init__(TASK_ID, num_envs, seed=SEED, num_threads=num_threads)
        self.single_observation_space = self.single_observation_space[POLICY]
        self.observation_space = self.observation_space[POLICY]
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}

    def reset(self, **kwargs: Any) -> Any:
        """Start a new episode everywhere."""
        obs, infos = super().reset(**kwargs)
        return obs[POLICY], infos

    def step(self, actions: np.ndarray) -> Any:
        """Execute ``actions (num_envs, action_dim)``."""
        obs, reward, terminated, truncated, infos = super().step(actions)
        # Where no episode ended, the final observation is the next one.
        flat = infos["final_obs"][POLICY] if infos else obs[POLICY]
        return flat, reward, terminated, truncated, {}


class RllibTraining(Contender):
    """``train()`` of RLlib's own PPO with its own runner, learner and default network.

    Observations are not normalised: RLlib's connector for it would cost a call for each
    environment and step. There is no learning rate that follows the divergence.

    Args:
        num_envs: Environments, shared among the runners.
        num_threads: Threads of physics and torch when there are no remote runners.
        runners: Remote runner processes with one core each; 0 samples in the learner's process.
    """

    def __init__(self, num_envs: int, num_threads: int, runners: int) -> None:
        from ray.rllib.algorithms.ppo import PPOConfig
        from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
        from ray.tune.registry import register_env

        start_ray(num_cpus=1 + runners)
        batch = num_envs * SETTINGS.num_steps_per_env
        threads = 1 if runners else num_threads
        register_env(TASK_ID, lambda context: NextStepVectorEnv(context["num_envs"], threads))
        config = PPOConfig()
        config.environment(
            env=TASK_ID,
            normalize_actions=False,
            clip_actions=False,
        )
        config.env_runners(
            num_env_runners=runners,
            num_envs_per_env_runner=num_envs // max(1, runners),
            gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length="auto",
            sample_timeout_s=600.0,
        )
        config.training(
            lr=SETTINGS.learning_rate,
            gamma=SETTINGS.gamma,
            lambda_=SETTINGS.gae_lambda,
            clip_param=SETTINGS.clip_param,
            entropy_coeff=SETTINGS.entropy_coef,
            vf_loss_coeff=SETTINGS.value_loss_coef,
            grad_clip=SETTINGS.max_grad_norm,
            num_epochs=SETTINGS.num_epochs,
            train_batch_size_per_learner=batch,
            minibatch_size=batch // SETTINGS.num_minibatches,
            use_kl_loss=False,
        )
        config.rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=list(HIDDEN),
                fcnet_activation=MODEL.activation,
                vf_share_layers=False,
                free_log_std=True,
            )
        )
        config.debugging(seed=SEED, log_level="ERROR")
        self.algorithm: Any = config.build_algo()
        torch.set_num_threads(num_threads)  # in this process the learner's
        self.env_steps = 0

    def run(self) -> int:
        """Train one iteration."""
        result = self.algorithm.train()
        before, self.env_steps = (
            self.env_steps,
            int(result["env_runners"]["num_env_steps_sampled_lifetime"]),
        )
        return self.env_steps - before

    def close(self) -> None:
        """Stop the runners and Ray."""
        import ray

        self.algorithm.stop()
        ray.shutdown()


class FlatEnv(gymnasium.ObservationWrapper):
    """One environment that shows the policy's observation alone."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        register()
        super().__init__(StridelabEnv(TASK_ID, seed=SEED))
        self.observation_space = self.env.observation_space[POLICY]

    def observation(self, observation: Any) -> np.ndarray:
        """Return the group ``policy``, ``(size,)``."""
        flat: np.ndarray = observation[POLICY]
        return flat


class StableBaselinesTraining(Contender):
    """``PPO.learn`` of Stable-Baselines3 for one iteration, one process for each environment.

    Args:
        num_envs: Environments and processes.
        steps: Steps of each environment in an iteration.
    """

    def __init__(self, num_envs: int, steps: int) -> None:
        baselines = import_module("stable_baselines3")
        vectorized = import_module("stable_baselines3.common.vec_env")
        # The children then start as copies of a process that has these imported already.
        multiprocessing.set_forkserver_preload([__name__, "stable_baselines3.common.vec_env"])
        envs = vectorized.SubprocVecEnv([FlatEnv] * num_envs)
        self.envs = vectorized.VecNormalize(envs, norm_reward=False, gamma=SETTINGS.gamma)
        self.env_steps = num_envs * steps
        self.model = baselines.PPO(
            "MlpPolicy",
            self.envs,
            learning_rate=SETTINGS.learning_rate,
            n_steps=steps,
            batch_size=self.env_steps // SETTINGS.num_minibatches,
            n_epochs=SETTINGS.num_epochs,
            gamma=SETTINGS.gamma,
            gae_lambda=SETTINGS.gae_lambda,
            clip_range=SETTINGS.clip_param,
            clip_range_vf=SETTINGS.clip_param,
            ent_coef=SETTINGS.entropy_coef,
            vf_coef=SETTINGS.value_loss_coef,
            max_grad_norm=SETTINGS.max_grad_norm,
            policy_kwargs={
                "net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)},
                "activation_fn": torch.nn.ELU,
            },
            seed=SEED,
            device="cpu",
        )

    def run(self) -> int:
        """Train one iteration."""
        self.model.learn(self.env_steps, reset_num_timesteps=False, log_interval=None)
        return self.env_steps

    def close(self) -> None:
        """Stop the environments' processes."""
        self.envs.close()
