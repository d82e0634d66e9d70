"""PPO's learner: one rollout in, several epochs of minibatches, new weights and metrics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from ray.rllib.core import COMPONENT_OPTIMIZER, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor, nn

from stridelab.algorithms.ppo.advantages import normalize_advantages
from stridelab.algorithms.ppo.imitation import Imitation
from stridelab.algorithms.ppo.losses import (
    adapted_learning_rate,
    explained_variance,
    staleness_weights,
    surrogate_loss,
    value_loss,
)
from stridelab.algorithms.ppo.symmetry import mirror_loss, mirrored_frames, with_images
from stridelab.algorithms.ppo.task_teachers import TaskTeachers
from stridelab.experiment.schema import AlgorithmSection
from stridelab.modules.actor_critic import POLICY
from stridelab.modules.history import FrameWindows, frame_windows
from stridelab.sampling.gae import advantages_and_returns
from stridelab.sampling.rollout import Rollout

_STATE = "stridelab"


class NonFiniteLossError(ArithmeticError):
    """The gradient is no longer a number; the weights are those of before the step."""


@dataclass
class Batch:
    """A flat rollout, or a minibatch of one; every tensor leads with the rows."""

    obs: Mapping[str, Tensor | FrameWindows]
    """Normalised observation groups: of a rollout as windows, of a minibatch ``(n, size)``."""
    actions: Tensor
    """``(n, action_size)``."""
    logp: Tensor
    """Log-probability under the policy before the update, in the learner's precision, ``(n,)``."""
    advantages: Tensor
    """Normalised over the rollout, ``(n,)``."""
    returns: Tensor
    """Value targets, ``(n,)``."""
    values: Tensor
    """Values before the update, ``(n,)``."""
    images: Mapping[str, Tensor | FrameWindows] = field(default_factory=dict)
    """Mirror images of ``obs``, normalised likewise; empty where symmetry is off."""
    labels: Tensor | None = None
    """What the teacher would do, ``(n, action_dim)``; None without one."""

    def rows(self, ids: Tensor) -> Batch:
        """Return the rows ``ids (k,)``."""
        return Batch(
            {group: value[ids] for group, value in self.obs.items()},
            self.actions[ids],
            self.logp[ids],
            self.advantages[ids],
            self.returns[ids],
            self.values[ids],
            {group: value[ids] for group, value in self.images.items()},
            None if self.labels is None else self.labels[ids],
        )

    def shuffled(self, parts: int, generator: torch.Generator) -> Iterator[Batch]:
        """Split into ``parts`` minibatches of rows drawn without replacement."""
        order = torch.randperm(self.logp.shape[0], generator=generator)
        for ids in order.tensor_split(parts):
            yield self.rows(ids.to(self.logp.device))


class PPOLearner(TorchLearner):
    """RLlib learner with its own loop: the rollout goes to the device once, rows go by index."""

    def build(self) -> None:
        """Build module and optimiser and seed the order of minibatches."""
        super().build()
        self._generator = torch.Generator().manual_seed(int(self.config.seed or 0))
        self._learning_rate = self._settings.learning_rate
        self._loss: Callable[..., tuple[Tensor, dict[str, Tensor]]] = self._compute_loss
        self._mirror = self.config.mirror.to(self._device) if self.config.mirror else None
        self._imitation = self._teaching()
        if self._settings.compile:
            self._loss = torch.compile(self._compute_loss, dynamic=False)

    def _teaching(self) -> Imitation | TaskTeachers | None:
        settings = self._settings.imitation
        if settings is None:
            return None
        if settings.is_by_task:
            columns, layout = self.config.advantage_columns, self.config.policy_layout
            return TaskTeachers(settings, columns, layout, self._policy)
        return Imitation(settings, self._device)

    @property
    def _settings(self) -> AlgorithmSection:
        settings: AlgorithmSection = self.config.settings
        return settings

    @property
    def _policy(self) -> Any:
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Use one fused Adam for all parameters."""
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, lr=config.lr, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        """Refuse: RLlib's own update loop is not used here."""
        raise NotImplementedError("this learner takes rollouts: call update_rollout()")

    def update_rollout(self, rollout: Rollout) -> dict[str, float]:
        """Improve policy and value on one rollout.

        Returns:
            Metrics by name: losses, policy statistics, explained variance.

        Raises:
            NonFiniteLossError: If a gradient is not finite; that step is not taken.
        """
        settings = self._settings
        batch = self._prepare(rollout)
        sums: dict[str, Tensor] = {}
        largest = torch.zeros((), device=self._device)
        updates = 0
        for _ in range(settings.num_epochs):
            for minibatch in batch.shuffled(settings.num_minibatches, self._generator):
                statistics = self._update_minibatch(minibatch)
                largest = torch.maximum(largest, statistics.pop("policy/ratio_max"))
                for name, value in statistics.items():
                    sums[name] = sums[name] + value if name in sums else value
                updates += 1
        metrics = {name: float(value) / updates for name, value in sums.items()}
        metrics["policy/ratio_max"] = float(largest)
        metrics["value/explained_variance"] = float(explained_variance(batch.values, batch.returns))
        metrics["policy/learning_rate"] = self._learning_rate
        metrics |= self._policy.rollout_metrics(rollout)
        # Only now: during the epochs the policy must stay comparable to the one that sampled.
        device = self._device
        self._policy.update_normalizers(
            {g: value[:-1].flatten(0, 1).to(device) for g, value in rollout.obs.items()}
        )
        self._weights_seq_no += 1
        return metrics

    def set_progress(self, fraction: float) -> None:
        """Follow all schedules; ``fraction`` of the training is over, 0 to 1."""
        self._policy.set_progress(fraction)
        if self._settings.schedule == "linear":
            self.set_learning_rate(self._settings.learning_rate * max(0.0, 1.0 - fraction))
        if self._imitation is not None:
            self._imitation.coef = self._imitation.settings.weight(fraction)

    def _autocast(self) -> torch.autocast:
        enabled = self._settings.precision == "bf16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=enabled)

    @torch.no_grad()
    def _prepare(self, rollout: Rollout) -> Batch:
        """Move to the device, normalise, estimate values, advantages and old log-probabilities."""
        settings, policy, device = self._settings, self._policy, self._device
        windows, final = self._observations(rollout)
        actions = rollout.actions.to(device).flatten(0, 1)
        logp = rollout.logp.to(device).flatten()
        critic = policy.critic_group
        with self._autocast():
            values = self._in_parts(
                lambda obs: policy.value({critic: obs}),
                windows[critic],
                rollout.env_steps + rollout.num_envs,
            )
            final_values = policy.value({critic: final})
            sampled_logp = logp
            if settings.precision != "fp32" or settings.asynchronous:
                # The float32 log-probabilities of sampling would shift every ratio.
                inputs = self._in_parts(policy.act, windows[POLICY], rollout.env_steps)
                logp = self._distribution(inputs).logp(actions)
        advantages, returns = advantages_and_returns(
            settings.reward_scale * rollout.rewards.to(device),
            values.view(-1, rollout.num_envs),
            rollout.terminated.to(device),
            rollout.truncated.to(device),
            final_values,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
        )
        normalized = normalize_advantages(advantages.flatten(), self._groups(rollout))
        if settings.asynchronous:
            normalized = normalized * staleness_weights(logp, sampled_logp)
        return Batch(
            obs=windows,
            actions=actions,
            logp=logp,
            advantages=normalized,
            returns=returns.flatten(),
            values=values[: rollout.env_steps],
            images=self._images(rollout),
            labels=self._labels(rollout),
        )

    def _observations(self, rollout: Rollout) -> tuple[dict[str, FrameWindows], Tensor]:
        """Return observations as windows, and what the critic saw last of truncated episodes."""
        critic, device = self._policy.critic_group, self._device
        windows = self._windows(rollout, rollout.obs, rollout.past)
        truncated = rollout.truncated.to(device).flatten().nonzero().flatten()
        last_frames = self._normalized(rollout.final_obs)[critic]
        return windows, windows[critic].followed_by(truncated, last_frames)

    def _groups(self, rollout: Rollout) -> Tensor | None:
        """Return which group each sample's advantage is normalised in, ``(T * N, groups)``."""
        columns = self.config.advantage_columns
        if columns is None:
            return None
        return rollout.obs[POLICY][:-1, :, columns].flatten(0, 1).to(self._device)

    def _images(self, rollout: Rollout) -> dict[str, FrameWindows]:
        """Return the mirror images of the observations; none where symmetry is off."""
        if self._mirror is None:
            return {}
        # The loss between a mean and its image looks at the policy's observations alone.
        seen = {POLICY, self._policy.critic_group}
        groups = seen if self._settings.symmetry.augmentation else {POLICY}
        frames, past = (
            mirrored_frames(
                self._mirror, {g: raw[g].to(self._device) for g in sorted(groups) if g in raw}
            )
            for raw in (rollout.obs, rollout.past)
        )
        return self._windows(rollout, frames, past)

    def _labels(self, rollout: Rollout) -> Tensor | None:
        """Return what the teacher would have done, ``(T * N, ...)``."""
        if self._imitation is None or not self._imitation.coef:
            return None
        frames = rollout.obs[self._imitation.group][:-1].flatten(0, 1)
        return self._imitation.labels(frames.to(self._device))

    def _normalized(self, frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
        normalized: dict[str, Tensor] = self._policy.normalize(
            {group: value.to(self._device) for group, value in frames.items()}
        )
        return normalized

    def _windows(
        self, rollout: Rollout, frames: Mapping[str, Tensor], past: Mapping[str, Tensor]
    ) -> dict[str, FrameWindows]:
        """Normalise raw frames of a rollout and make them windows."""
        ended = (rollout.terminated | rollout.truncated).to(self._device)
        frames, past = self._normalized(frames), self._normalized(past)
        if self._settings.precision == "bf16" and POLICY in past:
            # The first layer would round them anyway; gathering a history costs half as much.
            frames[POLICY], past[POLICY] = frames[POLICY].bfloat16(), past[POLICY].bfloat16()
        return frame_windows(frames, past, ended)

    def _in_parts(
        self, evaluate: Callable[[Tensor], Tensor], windows: FrameWindows, count: int
    ) -> Tensor:
        """Evaluate the first ``count`` observations; stacks never exist for all of them at once."""
        ids = torch.arange(count, device=self._device)
        parts = ids.tensor_split(self._settings.num_minibatches)
        return torch.cat([evaluate(windows[part]) for part in parts])

    def _distribution(self, inputs: Tensor) -> Any:
        return self._policy.get_train_action_dist_cls().from_logits(inputs)

    def _update_minibatch(self, batch: Batch) -> dict[str, Tensor]:
        total, statistics = self._loss(
            batch.obs,
            batch.actions,
            batch.logp,
            batch.advantages,
            batch.returns,
            batch.values,
            batch.images,
            batch.labels,
        )
        if self._settings.schedule == "adaptive":
            self._adapt_learning_rate(float(statistics["policy/approx_kl"]))
        self._apply(total)
        return statistics

    def _compute_loss(
        self,
        obs: dict[str, Tensor],
        actions: Tensor,
        old_logp: Tensor,
        advantages: Tensor,
        returns: Tensor,
        old_values: Tensor,
        images: dict[str, Tensor],
        labels: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and, without gradient, its statistics; arguments as in :class:`Batch`.

        Plain tensors come in, so that ``torch.compile`` can take the whole of it.
        """
        settings, own = self._settings, slice(actions.shape[0])
        if self._mirror is not None and settings.symmetry.augmentation:
            obs = with_images(obs, images)
            actions = torch.cat([actions, self._mirror.actions(actions)])
            old_logp, advantages = old_logp.repeat(2), advantages.repeat(2)
            returns, old_values = returns.repeat(2), old_values.repeat(2)
        with self._autocast():
            out = self._policy.evaluate(obs, actions)
        auxiliary = self._policy.auxiliary(obs, out)
        dist, values = self._distribution(out[Columns.ACTION_DIST_INPUTS]), out[Columns.VF_PREDS]
        log_ratio = dist.logp(actions) - old_logp
        ratio = log_ratio.exp()
        entropy = dist.entropy()[own].mean()
        policy_loss = surrogate_loss(ratio, advantages, settings.clip_param)
        clip = settings.clip_param if settings.clip_value_loss else None
        critic_loss = value_loss(values, returns, old_values, clip)
        entropy_loss = -settings.entropy_coef * entropy
        total = policy_loss + settings.value_loss_coef * critic_loss + entropy_loss
        losses = {
            **auxiliary.losses,
            **self._mirror_loss(dist, images),
            **self._imitation_loss(dist, labels),
        }
        total = total + sum(losses.values())
        log_ratio, ratio = log_ratio[own], ratio[own]
        statistics = {
            "loss/policy": policy_loss,
            "loss/value": critic_loss,
            "loss/entropy": entropy_loss,
            **{f"loss/{name}": loss for name, loss in losses.items()},
            "loss/total": total,
            **auxiliary.metrics,
            "policy/entropy": entropy,
            "policy/std": dist.log_std.exp().mean(),
            # Unbiased and never negative: Schulman 2020, "Approximating KL divergence", k3.
            "policy/approx_kl": (ratio - 1.0 - log_ratio).mean(),
            "policy/ratio_mean": ratio.mean(),
            "policy/ratio_max": ratio.max(),
            "policy/clip_fraction": ((ratio - 1.0).abs() > settings.clip_param).float().mean(),
        }
        return total, {name: value.detach() for name, value in statistics.items()}

    def _mirror_loss(self, dist: Any, images: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted mirror loss; ``dist`` holds mirror images too with augmentation."""
        symmetry = self._settings.symmetry
        if self._mirror is None or not symmetry.mirror_loss_coef:
            return {}
        if symmetry.augmentation:
            mean, mean_in_mirror = dist.mean.chunk(2)
        else:
            with self._autocast():
                inputs = self._policy.act(images[POLICY])
            mean, mean_in_mirror = dist.mean, self._distribution(inputs).mean
        loss = mirror_loss(self._mirror, mean, mean_in_mirror)
        return {"mirror": symmetry.mirror_loss_coef * loss}

    def _imitation_loss(self, dist: Any, labels: Tensor | None) -> dict[str, Tensor]:
        """Return the weighted divergence from the teacher."""
        if self._imitation is None or labels is None:
            return {}
        return {"imitation": self._imitation.coef * self._imitation.loss(dist, labels)}

    def _adapt_learning_rate(self, kl: float) -> None:
        self.set_learning_rate(
            adapted_learning_rate(self._learning_rate, kl, self._settings.desired_kl)
        )

    def set_learning_rate(self, learning_rate: float) -> None:
        """Go on with another learning rate; an adaptive schedule starts from it."""
        self._learning_rate = learning_rate
        self._set_optimizer_lr(self._optimizer, learning_rate)

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        return optimizer

    def _apply(self, loss: Tensor) -> None:
        optimizer = self._optimizer
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._policy.parameters(), self._settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise NonFiniteLossError(
                f"the gradient's norm is {float(norm)} at loss {float(loss.detach()):.4g}; "
                "lower the learning rate, clip the rewards, or look at the observations"
            )
        optimizer.step()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and, with the optimiser, what RLlib leaves out."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        if COMPONENT_OPTIMIZER in state:
            state[_STATE] = {
                "learning_rate": self._learning_rate,
                "generator": self._generator.get_state(),
            }
            if self._imitation is not None:
                state[_STATE]["imitation_coef"] = self._imitation.coef
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned."""
        super().set_state(state)
        if _STATE in state:
            self._generator.set_state(state[_STATE]["generator"])
            self.set_learning_rate(float(state[_STATE]["learning_rate"]))
            if self._imitation is not None:  # a checkpoint from before there was a teacher has none
                self._imitation.coef = state[_STATE].get("imitation_coef", self._imitation.coef)
