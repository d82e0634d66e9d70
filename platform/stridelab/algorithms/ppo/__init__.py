"""Proximal policy optimisation on batched environments."""

from stridelab.algorithms.ppo.algorithm import PPO
from stridelab.algorithms.ppo.config import PPOConfig, build_config

__all__ = ["PPO", "PPOConfig", "build_config"]
