"""``BatchedEnvRunner``: RLlib's environment runner for batched environments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable
from torch import Tensor

from stridelab.modules.carried import begun_anew, initial_state, tell
from stridelab.sampling.recorder import Recorder
from stridelab.sampling.rollout import Rollout
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.gym import action_space, observation_space

COMPONENT_RL_MODULE = "rl_module"
COMPONENT_ENV = "env"
WEIGHTS_SEQ_NO = "weights_seq_no"


class BatchedEnvRunner(EnvRunner, Checkpointable):
    """Steps one :class:`BatchEnv` with the policy, all environments at once.

    It replaces RLlib's stock runner, which loops over environments in Python. The algorithm's
    config names the environment: ``env_config`` holds ``make_env``, a function of
    ``(num_envs, seed)`` that returns a :class:`BatchEnv` built with ``stack_history=False``. A
    runner that only holds weights beside remote ones (``worker_index`` 0 of several) builds no
    environment.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.num_steps = int(self.config.rollout_fragment_length)
        holds_envs = self.worker_index or not self.config.num_env_runners
        self.env: BatchEnv | None = None
        self._obs: dict[str, Tensor] = {}
        self._past: dict[str, Tensor] = {}
        self._module_state: dict[str, Tensor] = {}
        self._has_begun = False
        if holds_envs:
            self.make_env()
            self._spaces = (observation_space(self._env), action_space(self._env))
        else:
            self._spaces = kwargs["spaces"][INPUT_ENV_SINGLE_SPACES]
        self.make_module()
        self._weights_seq_no = 0

    @property
    def _env(self) -> BatchEnv:
        assert self.env is not None
        return self.env

    def make_env(self) -> None:
        """Build the environments and start an episode in each."""
        torch.set_num_threads(max(1, int(self.config.env_config["num_threads"])))
        self.env = self.config.env_config["make_env"](
            num_envs=self.config.num_envs_per_env_runner, seed=int(self._seed or 0)
        )
        self._obs = self.env.reset()
        self._past = {
            group: self._obs[group].repeat(length - 1, 1, 1)
            for group, length in self.env.history.items()
            if length > 1
        }
        self._begin_source()
        self.env.desynchronize()

    def _begin_source(self) -> None:
        """From here on rollouts do not continue those before."""
        self._source, self._number = uuid4().hex, 0

    def make_module(self) -> None:
        """Build the part of the module that acts."""
        spec = self.config.get_rl_module_spec(
            spaces={DEFAULT_MODULE_ID: self._spaces}, inference_only=True
        )
        self.module = spec.build()
        self.module.eval()
        if self.env is not None:
            self._module_state = initial_state(self.module, self.env.num_envs)

    def assert_healthy(self) -> None:
        """Check that construction went through."""
        assert self.module is not None

    def get_spaces(self) -> dict[str, Any]:
        """Return the spaces of one environment; RLlib asks for them by three names."""
        spaces = self._spaces
        return {
            INPUT_ENV_SPACES: spaces,
            INPUT_ENV_SINGLE_SPACES: spaces,
            DEFAULT_MODULE_ID: spaces,
        }

    @torch.no_grad()
    def sample(
        self,
        *,
        held: Mapping[str, int] | None = None,
        curriculum: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> Rollout:
        """Step every environment ``rollout_fragment_length`` times with sampled actions.

        Args:
            held: Sources and numbers of rollouts whose last frames the caller holds: the past is
                not brought again.
            curriculum: How far curricula have come, for a runner that has begun in the midst of a
                training; others go by their own.
            kwargs: What else RLlib may pass.
        """
        start = time.perf_counter()
        env, module = self._env, self.module
        if curriculum and not self._has_begun:
            env.set_curriculum(curriculum)
        self._has_begun = True
        failures_before = env.sim.failures
        dist_cls = module.get_exploration_action_dist_cls()
        record = Recorder(env, self.num_steps, self._obs, self._past)
        first = initial_state(module, env.num_envs)
        for _ in range(self.num_steps):
            batch = {Columns.OBS: record.obs(), Columns.STATE_IN: self._module_state}
            out = module.forward_exploration(batch)
            inputs = out[Columns.ACTION_DIST_INPUTS]
            dist = dist_cls.from_logits(inputs)
            action = out[Columns.ACTIONS] if Columns.ACTIONS in out else dist.sample()
            tell(module, env, action)
            step = env.step(out.get(Columns.ACTIONS_FOR_ENV, action))
            record.add(action, inputs, dist.logp(action), step)
            ended = step.terminated | step.truncated
            self._module_state = begun_anew(out.get(Columns.STATE_OUT, {}), first, ended)
        rollout = record.rollout()
        if self._is_held(held or {}):
            rollout.past = {}
        self._obs, self._past = step.obs, record.past()
        self._number += 1
        rollout.source, rollout.number = self._source, self._number
        rollout.curriculum = env.get_curriculum()
        rollout.sim_failures = env.sim.failures - failures_before
        rollout.seconds = time.perf_counter() - start
        return rollout

    def _is_held(self, held: Mapping[str, int]) -> bool:
        return self._number > 0 and held.get(self._source) == self._number

    def get_metrics(self) -> Any:
        """Return what RLlib's logger holds; the rollout itself carries what happened."""
        return self.metrics.reduce()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the weights and, of the local runner, the state of its environments.

        Remote runners are restarted with this state; the algorithm keeps their environments, see
        :meth:`get_env_state`.
        """
        state: dict[str, Any] = {WEIGHTS_SEQ_NO: self._weights_seq_no}
        if self._check_component(COMPONENT_RL_MODULE, components, not_components):
            weights = self.module.get_state(inference_only=kwargs.get("inference_only", False))
            state[COMPONENT_RL_MODULE] = {DEFAULT_MODULE_ID: weights}
        local = self.env is not None and not self.worker_index
        if local and self._check_component(COMPONENT_ENV, components, not_components):
            state[COMPONENT_ENV] = self.get_env_state()
        return state

    def get_env_state(self) -> dict[str, Any]:
        """Return what decides how the environments and the drawing of actions go on."""
        return {
            "batch_env": self._env.get_state(),
            "obs": self._obs,
            "past": self._past,
            "module_state": self._module_state,
            "torch_rng": torch.get_rng_state(),
        }

    def set_env_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_env_state` returned; other environments start afresh."""
        if self._same_envs(state):
            self._env.set_state(state["batch_env"])
            self._obs, self._past = state["obs"], state["past"]
            self._module_state = state["module_state"]
            self._begin_source()
            self._has_begun = True
            torch.set_rng_state(state["torch_rng"])

    def get_curriculum(self) -> dict[str, float]:
        """Return how far curricula have come, 0 to 1."""
        return self._env.get_curriculum()

    def set_curriculum(self, progress: dict[str, float]) -> None:
        """Take over how far curricula had come elsewhere."""
        self._env.set_curriculum(progress)

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over weights and environments, where ``state`` holds any."""
        weights = state.get(COMPONENT_RL_MODULE)
        if isinstance(weights, ray.ObjectRef):
            weights = ray.get(weights)
        if weights:
            self.module.set_state(weights.get(DEFAULT_MODULE_ID, weights))
            self._weights_seq_no = int(state.get(WEIGHTS_SEQ_NO, 0))
        if COMPONENT_ENV in state and self.env is not None:
            self.set_env_state(state[COMPONENT_ENV])

    def _same_envs(self, saved: dict[str, Any]) -> bool:
        """Say whether saved environments fit: restoring with other resources starts them afresh."""
        own = _shapes(self._obs), _shapes(self._past)
        return (_shapes(saved["obs"]), _shapes(saved["past"])) == own

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what builds an equal runner."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Name the parts that RLlib saves apart."""
        return [(COMPONENT_RL_MODULE, self.module)]

    def stop(self) -> None:
        """Nothing to release: physics threads end with the object."""


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
