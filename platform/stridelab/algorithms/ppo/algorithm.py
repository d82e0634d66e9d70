"""PPO as an RLlib algorithm: sample, learn, send weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO as RLlibPPO  # noqa: N811 (a class named by an acronym)
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from stridelab.sampling.ahead import SamplingAhead
from stridelab.sampling.remote import RemoteSampler
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
        self._curriculum: dict[str, float] = {}
        self._ahead = SamplingAhead(self._sample)
        super().setup(config)
        self._remote = RemoteSampler(
            self.env_runner_group,
            lambda: self._take_back(self.env_runner_group),
            patience_s=self.config.runner_patience_s,
            timeout_s=self.config.sample_timeout_s,
        )

    def cleanup(self) -> None:
        """End runners and learner."""
        self._ahead.close()
        super().cleanup()

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """Return the config class's defaults."""
        from stridelab.algorithms.ppo.config import PPOConfig

        return PPOConfig(algo_class=cls)

    def training_step(self) -> None:
        """Sample one rollout from every runner, learn from it, send the new weights.

        Asynchronously, runners begin the next rollout before this one is learned from: it comes
        from the policy of one iteration before.
        """
        start = time.perf_counter()
        rollouts = self._ahead.take()
        sampled = time.perf_counter()
        rollout = concatenate(self._past_frames.complete(rollouts))
        if self.config.settings.asynchronous:
            self._send_weights()
            self._ahead.start()
        results = self.learner_group.foreach_learner(
            lambda learner: learner.update_rollout(rollout)
        )
        learner_metrics: dict[str, float] = next(iter(results)).get()
        self.env_steps += rollout.env_steps
        self._set_progress()
        if not self.config.settings.asynchronous:
            self._send_weights()
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

    def _send_weights(self) -> None:
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group,
            policies=[DEFAULT_MODULE_ID],
            inference_only=True,
        )

    def _sample(self) -> list[Rollout]:
        group, held = self.env_runner_group, self._past_frames.held
        if group.num_remote_workers() == 0:
            return [group.local_env_runner.sample(held=held)]
        rollouts = self._remote.sample(held, self._curriculum)
        self._curriculum = _mean([rollout.curriculum for rollout in rollouts])
        return rollouts

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Take back runners that have started again, with the weights of now.

        RLlib calls this before each iteration.
        """
        return [] if self._ahead.is_under_way else self._take_back(env_runner_group)

    def _take_back(self, env_runner_group: Any) -> list[int]:
        if not self._remote.probe():
            return []
        restored: list[int] = super().restore_env_runners(env_runner_group)
        return restored

    def restore_learner(self, path: str) -> None:
        """Go on with the networks, normaliser and optimiser of a checkpoint, in new environments.

        Args:
            path: Folder that ``save_to_path()`` wrote.
        """
        self._ahead.drop()
        component = "learner_group"
        self.restore_from_path(f"{path}/{component}", component=component)
        self._send_weights()

    def set_learning_rate(self, learning_rate: float) -> None:
        """Go on with another learning rate."""
        self.learner_group.foreach_learner(lambda learner: learner.set_learning_rate(learning_rate))

    def get_curriculum(self) -> dict[str, float]:
        """Return how far curricula have come, 0 to 1, as the mean over the runners."""
        found = self._foreach_sampler(lambda runner: runner.get_curriculum())
        return _mean(found) if found else self._curriculum  # none while all start again

    def set_curriculum(self, progress: dict[str, float]) -> None:
        """Let curricula go on from where they had come elsewhere."""
        self._curriculum = progress
        self._foreach_sampler(lambda runner: runner.set_curriculum(progress))

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and what it leaves out: steps, curricula, remote environments.

        What runners sample ahead at this moment is not part of it.
        """
        self._ahead.settle()
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state[_STATE] = {"env_steps": self.env_steps, "curriculum": self.get_curriculum()}
        if self.env_runner_group.num_remote_workers():
            state[_STATE]["runners"] = self._foreach_sampler(lambda runner: runner.get_env_state())
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned; with other runners episodes start afresh."""
        self._ahead.drop()
        super().set_state(state)
        if _STATE not in state:
            return
        own = state[_STATE]
        self.env_steps = int(own["env_steps"])
        self.set_curriculum(own["curriculum"])
        runners = self.env_runner_group.healthy_worker_ids()
        saved = own.get("runners", [])
        if runners and len(saved) == len(runners):
            self.env_runner_group.foreach_env_runner(
                [partial(_set_env_state, envs) for envs in saved],
                local_env_runner=False,
                remote_worker_ids=runners,
            )

    def _foreach_sampler(self, function: Callable[[Any], Any]) -> list[Any]:
        """Call ``function`` with each runner that has environments, when none is sampling."""
        self._ahead.settle()
        group = self.env_runner_group
        remote = group.num_remote_workers() > 0
        found: list[Any] = group.foreach_env_runner(
            function, local_env_runner=not remote, timeout_seconds=self.config.sample_timeout_s
        )
        return found


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}


def _set_env_state(state: dict[str, Any], runner: Any) -> None:
    runner.set_env_state(state)
