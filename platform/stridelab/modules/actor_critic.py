"""The plain policy: two perceptrons, Gaussian actions, observation normalisation inside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from stridelab.modules.distributions import DiagonalGaussian
from stridelab.modules.networks import Perceptron
from stridelab.modules.normalizer import RunningNormalizer

if TYPE_CHECKING:
    from stridelab.sampling.rollout import Rollout

POLICY, CRITIC = "policy", "critic"
"""Observation groups; without a ``critic`` group the critic sees what the policy sees."""


class Auxiliary(NamedTuple):
    """What a module adds to the loss of an algorithm."""

    losses: dict[str, Tensor]
    """Name to weighted scalar; reported as ``loss/<name>``."""
    metrics: dict[str, Tensor]
    """Name to scalar, reported as it is."""


class ActorCritic(TorchRLModule, ValueFunctionAPI, InferenceOnlyAPI):
    """Separate actor and critic perceptrons over named observation groups.

    ``model_config`` keys: ``actor_hidden``, ``critic_hidden`` (widths), ``activation``,
    ``normalize_observations``, ``std_kind`` (``free``: one parameter an action;
    ``state_dependent``: a second output of the actor), ``std_initial`` (one number an action),
    ``std_min``, ``std_max``, ``scale_mean`` (the actor puts out means in units of ``std_initial``),
    ``history`` (frames of an observation by group, 1 where not named).

    Besides RLlib's forward methods, which take raw observations, there is a way in two steps for
    learners: :meth:`normalize` once a rollout, frame by frame, and :meth:`evaluate` on each
    minibatch. A module that also learns to predict something of its own overrides
    :attr:`predicts`, :meth:`outputs`, :meth:`auxiliary` and :meth:`squared_errors`.
    """

    symmetric = True
    """Whether mirror images of observations and actions mean something to the module."""
    predicts = False
    """Whether :meth:`auxiliary` adds losses, for which it looks at the group ``critic``, too."""
    stays_own: tuple[str, ...] = ()
    """First parts of names in the state dict that another policy's networks do not bring along."""
    deviations: tuple[str, ...] = ("log_std", "std")
    """The same of what decides how widely the module explores."""

    def setup(self) -> None:
        """Build the networks from the observation and action spaces."""
        config = self.model_config
        assert isinstance(config, Mapping)
        sizes = {group: int(space.shape[0]) for group, space in self.observation_space.items()}
        self.critic_group = CRITIC if CRITIC in sizes else POLICY
        num_actions = int(self.action_space.shape[0])
        self.log_std_bounds = (math.log(config["std_min"]), math.log(config["std_max"]))
        initial = torch.tensor(config["std_initial"], dtype=torch.float32).log()
        self.scale_mean = bool(config.get("scale_mean"))
        scale = initial.exp() if self.scale_mean else torch.ones_like(initial)
        self.register_buffer("mean_scale", scale, persistent=False)
        self.free_std = config["std_kind"] == "free"
        outputs = num_actions if self.free_std else 2 * num_actions
        self.actor = Perceptron(
            sizes[POLICY], config["actor_hidden"], outputs, config["activation"]
        )
        self._shrink_last_layer(num_actions, initial)
        self.critic = Perceptron(
            sizes[self.critic_group], config["critic_hidden"], 1, config["activation"]
        )
        self.normalizers = nn.ModuleDict()
        if config["normalize_observations"]:
            for group in sorted({POLICY, self.critic_group}):
                frames = config.get("history", {}).get(group, 1)
                self.normalizers[group] = RunningNormalizer(sizes[group] // frames)
        self.action_dist_cls = DiagonalGaussian

    def _shrink_last_layer(self, num_actions: int, initial_log_std: Tensor) -> None:
        """Start near the default pose, with the initial spread (Andrychowicz et al. 2021)."""
        last = self.actor[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
            if not self.free_std:
                last.bias[num_actions:] = initial_log_std
        if self.free_std:
            self.log_std = nn.Parameter(initial_log_std.clone())

    def get_non_inference_attributes(self) -> list[str]:
        """Name what acting does not need."""
        # The critic's normaliser stays: RLlib fails to delete what is nested.
        return ["critic"]

    def normalize(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Normalise the groups this module looks at, frames or stacks of them, ``(..., size)``."""
        groups = (POLICY,) if self.critic_group == POLICY else (POLICY, CRITIC)
        return {
            group: self.normalizers[group](obs[group]) if group in self.normalizers else obs[group]
            for group in groups
            if group in obs
        }

    def update_normalizers(self, obs: Mapping[str, Tensor]) -> None:
        """Take raw frames, each ``(n, size)``, into the running statistics."""
        for group, normalizer in self.normalizers.items():
            assert isinstance(normalizer, RunningNormalizer)
            normalizer.update(obs[group])

    def _outputs(self, normalized: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-std, each ``(..., num_actions)``."""
        out = self.actor(normalized)
        mean, log_std = (out, self.log_std) if self.free_std else out.chunk(2, dim=-1)
        if self.scale_mean:
            mean = mean * self.mean_scale
        return mean, log_std.clamp(*self.log_std_bounds).expand_as(mean)

    def act(self, normalized: Tensor) -> Tensor:
        """Return mean and log-std, ``(..., 2 * num_actions)``, in float32."""
        return torch.cat(self._outputs(normalized), dim=-1)

    def mean_action(self, observation: Tensor) -> Tensor:
        """Return the mean action ``(n, num_actions)`` for raw policy observations ``(n, size)``.

        This alone is what leaves for a robot: no critic, no spread.
        """
        return self._outputs(self.normalize({POLICY: observation})[POLICY])[0]

    def value(self, normalized: Mapping[str, Tensor]) -> Tensor:
        """Return the value of normalised observations, ``(...)``, in float32."""
        value: Tensor = self.critic(normalized[self.critic_group])
        return value.squeeze(-1)

    def evaluate(
        self, normalized: Mapping[str, Tensor], actions: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return what a loss needs, by RLlib's column names, and what :meth:`auxiliary` needs.

        ``action_dist_inputs`` is ``(n, 2 * num_actions)``, ``vf_preds`` is ``(n,)``.

        Args:
            normalized: Observation groups from :meth:`normalize`, ``(n, size)``.
            actions: What was sampled, ``(n, action_size)``, for modules whose distribution depends
                on more than the observation.
        """
        return {
            **self.outputs(normalized[POLICY]),
            Columns.VF_PREDS: self.value(normalized),
        }

    def outputs(self, normalized: Tensor) -> dict[str, Tensor]:
        """Return the part of :meth:`evaluate` for which no critic is needed.

        Args:
            normalized: The group ``policy``, ``(n, size)``.
        """
        return {Columns.ACTION_DIST_INPUTS: self.act(normalized)}

    def auxiliary(self, normalized: Mapping[str, Tensor], out: Mapping[str, Tensor]) -> Auxiliary:
        """Return the module's own losses on a minibatch; ``out`` is from :meth:`evaluate`."""
        return Auxiliary({}, {})

    def squared_errors(self, obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return how wrong the module's own predictions are on raw observations.

        Returns:
            Name to squared error, ``(n,)``.
        """
        return {}

    def set_progress(self, fraction: float) -> None:
        """Follow the module's own schedules; ``fraction`` of the training is over, 0 to 1."""

    def commands_given(self, action: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Give the commands that stored actions told to policies below, for the environments."""
        return iter(())

    def rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        """Return the module's own metrics of a rollout, by the names of the metric glossary."""
        return {}

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        normalized = self.normalize(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self.act(normalized[POLICY])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return the value of raw observations in ``batch``, ``(n,)``."""
        return self.value(self.normalize(batch[Columns.OBS]))
