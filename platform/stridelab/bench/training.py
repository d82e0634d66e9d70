"""Contenders that train: the platform itself, and the loop written by hand."""

from __future__ import annotations

from typing import Any

from stridelab.bench.contender import Contender
from stridelab.bench.hand_loop import HandLoop
from stridelab.bench.workload import SEED, bench_env, bench_experiment, register


def start_ray(num_cpus: int) -> None:
    """Start a Ray of this process's own, as small as it goes."""
    import ray

    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=512 * 2**20,
    )


class PlatformTraining(Contender):
    """``train()`` of the platform's own PPO, as a trial calls it.

    Args:
        num_envs: Environments.
        num_threads: Threads of physics and torch, in all runners together.
        precision: ``bf16`` or ``fp32``.
        compiled: Compile the loss; needs a C++ compiler.
        runners: Processes that sample; 0 samples in the learner's process.
        asynchronous: Sample while learning.
    """

    def __init__(
        self,
        num_envs: int,
        num_threads: int,
        precision: str,
        compiled: bool = False,
        runners: int = 0,
        asynchronous: bool = False,
    ) -> None:
        from stridelab.algorithms.ppo import build_config

        start_ray(num_cpus=1 + runners)
        register()
        experiment = bench_experiment(
            num_envs, precision, compiled, runners=runners, asynchronous=asynchronous
        )
        threads = max(1, num_threads // max(1, runners))
        config = build_config(experiment, seed=SEED, num_threads=threads)
        self.algorithm: Any = config.build_algo()

    def run(self) -> int:
        """Train one iteration."""
        before = self.algorithm.env_steps
        self.algorithm.train()
        return int(self.algorithm.env_steps - before)

    def close(self) -> None:
        """Stop Ray."""
        import ray

        self.algorithm.stop()
        ray.shutdown()


class HandLoopTraining(Contender):
    """One iteration of :class:`HandLoop`."""

    def __init__(self, num_envs: int, num_threads: int, precision: str) -> None:
        self.loop = HandLoop(bench_env(num_envs, num_threads), precision)

    def run(self) -> int:
        """Train one iteration."""
        return self.loop.iterate()
