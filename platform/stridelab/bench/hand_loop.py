"""PPO written down by hand in plain PyTorch: what the platform's training is measured against.

No Ray, no RLlib, nothing of the platform's learner: one class over tensors, as a careful person
would write it for this one task, with the same environments, networks, batch, epochs, minibatches
and precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stridelab.bench.workload import HIDDEN, SEED, SETTINGS
from stridelab_envs.batch_env import BatchEnv

_HALF_LOG_TWO_PI = 0.9189385332046727


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in HIDDEN:
        layers += [nn.Linear(inputs, width), nn.ELU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _log_prob(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    scaled = (actions - mean) * (-log_std).exp()
    return (-0.5 * scaled.square() - log_std - _HALF_LOG_TWO_PI).sum(dim=-1)


@dataclass
class _Batch:
    """A flat rollout; every tensor leads with ``steps * num_envs`` rows."""

    obs: Tensor
    actions: Tensor
    log_prob: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


class HandLoop:
    """The loop: :meth:`iterate` samples one rollout and learns from it.

    Args:
        env: The environments.
        precision: ``bf16`` runs the networks under autocast, ``fp32`` does not.
    """

    def __init__(self, env: BatchEnv, precision: str) -> None:
        torch.manual_seed(SEED)
        self.env = env
        size, num_actions = env.observation_sizes["policy"], env.action_dim
        self.actor = _perceptron(size, num_actions)
        self.critic = _perceptron(size, 1)
        with torch.no_grad():
            self.actor[-1].weight.mul_(0.01)  # type: ignore[operator]
        self.log_std = nn.Parameter(torch.zeros(num_actions))
        self.parameters = [*self.actor.parameters(), *self.critic.parameters(), self.log_std]
        self.learning_rate = SETTINGS.learning_rate
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.learning_rate, fused=True)
        self.mean, self.var, self.count = torch.zeros(size), torch.ones(size), 0
        self._bf16 = precision == "bf16"
        self._obs = env.reset()["policy"]
        env.desynchronize()

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16)

    def _normalize(self, obs: Tensor) -> Tensor:
        return ((obs - self.mean) / (self.var.sqrt() + 1e-2)).clamp_(-10.0, 10.0)

    def _update_normalizer(self, obs: Tensor) -> None:
        batch_var, batch_mean = torch.var_mean(obs, dim=0, correction=0)
        total = self.count + obs.shape[0]
        share = obs.shape[0] / total
        delta = batch_mean - self.mean
        self.var += share * (batch_var - self.var + (1.0 - share) * delta.square())
        self.mean += share * delta
        self.count = total

    def iterate(self) -> int:
        """Run one iteration and return the number of environment steps."""
        batch = self._rollout()
        rows = batch.obs.shape[0]
        for _ in range(SETTINGS.num_epochs):
            for ids in torch.randperm(rows).tensor_split(SETTINGS.num_minibatches):
                self._update(batch, ids)
        return rows

    @torch.no_grad()
    def _rollout(self) -> _Batch:
        steps, count = SETTINGS.num_steps_per_env, self.env.num_envs
        raw = torch.empty(steps, count, self._obs.shape[1])
        obs = torch.empty(steps + 1, count, self._obs.shape[1])
        actions = torch.empty(steps, count, self.env.action_dim)
        log_prob, rewards, done = (torch.empty(steps, count) for _ in range(3))
        cut_short: list[tuple[int, Tensor, Tensor]] = []
        std = self.log_std.exp()
        with self._autocast():
            for t in range(steps):
                raw[t] = self._obs
                obs[t] = self._normalize(self._obs)
                mean = self.actor(obs[t]).float()
                torch.add(mean, std * torch.randn_like(mean), out=actions[t])
                log_prob[t] = _log_prob(actions[t], mean, self.log_std)
                step = self.env.step(actions[t])
                rewards[t], done[t] = step.reward, step.terminated | step.truncated
                if step.truncated.any():
                    final = self._normalize(step.final_obs["policy"][step.truncated])
                    cut_short.append((t, step.truncated, final))
                self._obs = step.obs["policy"]
            obs[steps] = self._normalize(self._obs)
            values = self.critic(obs).squeeze(-1).float()
            for t, truncated, final in cut_short:
                final_value = self.critic(final).squeeze(-1).float()
                rewards[t, truncated] += SETTINGS.gamma * final_value
        advantages = self._advantages(rewards, values, 1.0 - done)
        returns = advantages + values[:-1]
        std_adv, mean_adv = torch.std_mean(advantages)
        self._update_normalizer(raw.flatten(0, 1))
        return _Batch(
            obs=obs[:-1].flatten(0, 1),
            actions=actions.flatten(0, 1),
            log_prob=log_prob.flatten(),
            values=values[:-1].flatten(),
            advantages=((advantages - mean_adv) / (std_adv + 1e-8)).flatten(),
            returns=returns.flatten(),
        )

    def _advantages(self, rewards: Tensor, values: Tensor, going_on: Tensor) -> Tensor:
        gamma, gae_lambda = SETTINGS.gamma, SETTINGS.gae_lambda
        advantages = torch.empty_like(rewards)
        running = torch.zeros_like(rewards[0])
        for t in range(rewards.shape[0] - 1, -1, -1):
            delta = rewards[t] + gamma * values[t + 1] * going_on[t] - values[t]
            running = delta + gamma * gae_lambda * going_on[t] * running
            advantages[t] = running
        return advantages

    def _update(self, batch: _Batch, ids: Tensor) -> None:
        clip, obs = SETTINGS.clip_param, batch.obs[ids]
        with self._autocast():
            mean, value = self.actor(obs), self.critic(obs)
        mean, value = mean.float(), value.squeeze(-1).float()
        log_ratio = _log_prob(batch.actions[ids], mean, self.log_std) - batch.log_prob[ids]
        ratio = log_ratio.exp()
        advantages, returns, old_value = (
            batch.advantages[ids],
            batch.returns[ids],
            batch.values[ids],
        )
        surrogate = -torch.minimum(
            ratio * advantages, ratio.clamp(1.0 - clip, 1.0 + clip) * advantages
        )
        moved = old_value + (value - old_value).clamp(-clip, clip)
        value_error = torch.maximum((value - returns).square(), (moved - returns).square())
        entropy = (self.log_std + 0.5 + _HALF_LOG_TWO_PI).sum()
        loss = (
            surrogate.mean()
            + SETTINGS.value_loss_coef * value_error.mean()
            - SETTINGS.entropy_coef * entropy
        )
        self._adapt_learning_rate(float((ratio - 1.0 - log_ratio).detach().mean()))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, SETTINGS.max_grad_norm)
        self.optimizer.step()

    def _adapt_learning_rate(self, kl: float) -> None:
        if kl > 2.0 * SETTINGS.desired_kl:
            self.learning_rate = max(1e-5, self.learning_rate / 1.5)
        elif 0.0 < kl < 0.5 * SETTINGS.desired_kl:
            self.learning_rate = min(1e-2, self.learning_rate * 1.5)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
