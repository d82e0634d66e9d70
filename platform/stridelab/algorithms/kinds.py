"""The algorithms by the name that experiments give them."""

from __future__ import annotations

from stridelab.algorithms.ppo import PPO, build_config
from stridelab.experiment import Experiment
from stridelab.experiment.installed import ALGORITHMS


def build_algorithm(experiment: Experiment, *, seed: int, num_threads: int) -> PPO:
    """Build runners and learner of an experiment's algorithm.

    Args:
        experiment: The validated experiment.
        seed: Seed of networks, sampling and minibatches.
        num_threads: Threads of physics and of torch in each process.

    Raises:
        ConfigError: If the experiment does not fit the task's robot.
    """
    kind = experiment.algorithm.kind
    algorithm: type[PPO] = PPO if kind == "ppo" else ALGORITHMS.find(kind, "algorithm.kind")
    config = build_config(
        experiment, seed=seed, num_threads=num_threads, config=algorithm.get_default_config()
    )
    return config.build_algo()
