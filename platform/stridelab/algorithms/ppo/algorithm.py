"""PPO as an RLlib algorithm: sample, learn, send weights."""

from __future__ import annotations

import time
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO as RLlibPPO  # noqa: N811 (a class named by an acronym)
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from stridelab.sampling.rollout import PastFrames, Rollout, concatenate

_STATE = "stridelab"


class PPO(RLlibPPO):
    """RLlib's PPO with batched runners and a learner that takes whole rollouts.

    After each ``train()``, :attr:`iteration_metrics` holds this iteration's metrics by the names of
    the metric glossary, and :attr:`env_steps` the environment steps since the very start.
    """

    def setup(self, config: AlgorithmConfig) -> None:
        """Build runners and learner."""
        self.env_steps = 0
        self.iteration_metrics: dict[str, float] = {}
        self._past_frames = PastFrames()
        super().setup(config)

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """Return the config class's defaults."""
        from stridelab.algorithms.ppo.config import PPOConfig

        return PPOConfig(algo_class=cls)

    def training_step(self) -> None:
        """Sample one rollout from every runner, learn from it, send the new weights."""
        start = time.perf_counter()
        rollouts = self._sample()
        sampled = time.perf_counter()
        rollout = concatenate(self._past_frames.complete(rollouts))
        results = self.learner_group.foreach_learner(
            lambda learner: learner.update_rollout(rollout)
        )
        learner_metrics: dict[str, float] = next(iter(results)).get()
        self.env_steps += rollout.env_steps
        self._set_progress()
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            policies=[DEFAULT_MODULE_ID],
            inference_only=True,
        )
        end = time.perf_counter()
        self.metrics.log_value(
            (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME),
            rollout.env_steps,
            reduce="lifetime_sum",
        )
        self.iteration_metrics = {
            # NaN: not measured in that episode.
            **{n: float(v.nanmean()) for n, v in rollout.episodes.items() if not v.isnan().all()},
            **learner_metrics,
            "sim/failures": float(rollout.sim_failures),
            "perf/sample_seconds": sampled - start,
            "perf/learn_seconds": end - sampled,
            "perf/env_steps_per_second": rollout.env_steps / (end - start),
        }

    def _set_progress(self) -> None:
        """Tell the module how far the training is, before its weights go to the runners."""
        total = self.config.total_env_steps
        if total is not None:
            fraction = min(1.0, self.env_steps / total)
            self.learner_group.foreach_learner(lambda learner: learner.set_progress(fraction))

    def _sample(self) -> list[Rollout]:
        group, held = self.env_runner_group, self._past_frames.held
        if group.num_remote_workers() == 0:
            return [group.local_env_runner.sample(held=held)]
        rollouts: list[Rollout] = group.foreach_env_runner(
            lambda runner: runner.sample(held=held),
            local_env_runner=False,
            timeout_seconds=self.config.sample_timeout_s,
        )
        if not rollouts:
            raise RuntimeError("no environment runner returned a rollout")
        return rollouts

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and the count of environment steps."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state[_STATE] = {"env_steps": self.env_steps}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned."""
        super().set_state(state)
        if _STATE in state:
            self.env_steps = int(state[_STATE]["env_steps"])
