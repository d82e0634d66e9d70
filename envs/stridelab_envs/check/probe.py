"""Run a task with zero and with random actions, and measure what its terms do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stridelab_envs.batch_env import BatchEnv, Step
from stridelab_envs.check.contract import Maker, random_actions
from stridelab_envs.check.report import (
    EpisodeStatistics,
    ObservationStatistics,
    RewardStatistics,
)
from stridelab_envs.mdp.terms import RewardTerm
from stridelab_envs.tasks.config import TaskConfig

_AT_LIMIT = 0.99
"""A torque beyond this share of its limit is saturated."""


class Columns:
    """Count, sum, spread and extremes of values, column by column."""

    def __init__(self) -> None:
        self._count: Tensor | None = None

    def add(self, value: Tensor) -> None:
        """Take in ``value (n, k)``; what is not finite is counted and left out."""
        value = value.double()
        finite = value.isfinite()
        kept = torch.where(finite, value, 0.0)
        if self._count is None:
            zero = torch.zeros(value.shape[1], dtype=torch.float64)
            self._count, self._sum, self._square = zero, zero, zero
            self._min, self._max = zero + torch.inf, zero - torch.inf
            self._fired, self._not_finite = zero, zero
        self._count = self._count + finite.sum(dim=0)
        self._sum = self._sum + kept.sum(dim=0)
        self._square = self._square + kept.square().sum(dim=0)
        self._min = torch.minimum(self._min, torch.where(finite, value, torch.inf).amin(dim=0))
        self._max = torch.maximum(self._max, torch.where(finite, value, -torch.inf).amax(dim=0))
        self._fired = self._fired + (kept != 0.0).sum(dim=0)
        self._not_finite = self._not_finite + (~finite).sum(dim=0)

    def statistics(self, columns: slice) -> dict[str, Any]:
        """Return mean, std, min, max and what else there is of some columns."""
        assert self._count is not None
        count = self._count[columns].clamp(min=1.0)
        mean = self._sum[columns] / count
        variance = (self._square[columns] / count - mean.square()).clamp(min=0.0)
        low, high = self._min[columns], self._max[columns]
        return {
            "mean": float(mean.mean()),
            "std": float(variance.mean().sqrt()),
            "min": float(low.min()),
            "max": float(high.max()),
            "constant": int((high <= low).sum()),
            "fired": float((self._fired[columns] / count).mean()),
            "not_finite": int(self._not_finite[columns].sum()),
        }


class Recorder:
    """A term function that keeps what it returned last."""

    def __init__(self, func: Callable[..., Tensor]) -> None:
        self.func = func
        self.last: Tensor | None = None

    def __call__(self, *args: Any, **params: Any) -> Tensor:
        """Call the function."""
        self.last = self.func(*args, **params).clone()
        return self.last


class Probe:
    """Steps environments of a task whose reward and termination terms are listened to.

    Args:
        make: Builds the environments.
        seconds: Simulated time of each kind of action [s].
        seed: Seed of environments and actions.
    """

    def __init__(self, make: Maker, seconds: float, seed: int) -> None:
        self.task, self._rewards, self._terminations = _listened(make.task)
        self._make = replace(make, task=self.task)
        self._steps = max(1, round(seconds / self.task.control_dt))
        self._seed = seed
        self._observed = {group: Columns() for group in self.task.observations}
        self._rewarded = Columns()
        self._saturated: list[Tensor] = []
        self.episodes: list[EpisodeStatistics] = []

    def run(self) -> None:
        """Hold the default pose in one rollout, act at random in another."""
        self._rollout("zero")
        self._rollout("random")

    def observations(self) -> list[ObservationStatistics]:
        """Return the statistics of every observation term."""
        found = []
        for group, layout in self._layouts.items():
            for name, columns in layout.items():
                values = self._observed[group].statistics(columns)
                del values["fired"]
                size = columns.stop - columns.start
                found.append(ObservationStatistics(group, name, size=size, **values))
        return found

    def rewards(self) -> list[RewardStatistics]:
        """Return the statistics of every reward term that is switched on."""
        found = []
        for row, name in enumerate(self._rewards):
            values = self._rewarded.statistics(slice(row, row + 1))
            kept = {key: values[key] for key in ("fired", "mean", "min", "max", "not_finite")}
            found.append(RewardStatistics(name, self.task.rewards[name].weight, **kept))
        return found

    def saturation(self) -> Tensor:
        """Return the share of steps of random actions at the torque limit, ``(num_joints,)``."""
        return torch.stack(self._saturated).mean(dim=0)

    def _rollout(self, actions: str) -> None:
        env = self._make(self._seed)
        self._layouts = env.layouts
        self._observe(env.reset())
        generator = torch.Generator().manual_seed(self._seed)
        first = _FirstEpisodes(env, tuple(self._terminations))
        clipped = 0.0
        for _ in range(self._steps):
            random = actions == "random"
            step = env.step(
                random_actions(env, generator)
                if random
                else torch.zeros(env.num_envs, env.action_dim)
            )
            self._observe(step.final_obs)
            clipped += float((self._reward() < 0.0).float().mean())
            first.update(step, {name: r.last for name, r in self._terminations.items()})
            if random:
                self._saturated.append(self._at_limit(env, step))
        only_positive = self.task.only_positive_rewards
        self.episodes.append(
            first.statistics(actions, clipped / self._steps if only_positive else 0.0)
        )

    def _observe(self, obs: Mapping[str, Tensor]) -> None:
        for group, value in obs.items():
            self._observed[group].add(value)

    def _reward(self) -> Tensor:
        """Take in the terms of the last step; return their weighted sum, ``(num_envs,)``."""
        values = []
        for name, recorder in self._rewards.items():
            assert recorder.last is not None
            values.append(_weighted(self.task.rewards[name], recorder.last))
        if not values:
            return torch.zeros(self._make.num_envs)
        table = torch.stack(values, dim=1)
        self._rewarded.add(table)
        return table.sum(dim=1)

    def _at_limit(self, env: BatchEnv, step: Step) -> Tensor:
        limit = torch.as_tensor(env.sim.model.actuator_forcerange[:, 1], dtype=torch.float32)
        limited = torch.as_tensor(env.sim.model.actuator_forcelimited, dtype=torch.bool)
        running = ~(step.terminated | step.truncated)
        at_limit = (env.state.joint_torque.abs() >= _AT_LIMIT * limit) & limited
        return at_limit[running].float().mean(dim=0) if running.any() else limit * 0.0


class _FirstEpisodes:
    """Follows the first episode of every environment."""

    def __init__(self, env: BatchEnv, terminations: tuple[str, ...]) -> None:
        self._env = env
        self._running = torch.ones(env.num_envs, dtype=torch.bool)
        self._fell = torch.zeros(env.num_envs, dtype=torch.bool)
        self._steps = torch.zeros(env.num_envs)
        self._causes = dict.fromkeys(terminations, 0.0)

    def update(self, step: Step, terminations: Mapping[str, Tensor | None]) -> None:
        self._steps += self._running
        for name, value in terminations.items():
            if value is not None:
                self._causes[name] += float((value & self._running).float().mean())
        self._fell |= self._running & step.terminated
        self._running &= ~(step.terminated | step.truncated)

    def statistics(self, actions: str, clipped: float) -> EpisodeStatistics:
        dt = self._env.control_dt
        return EpisodeStatistics(
            actions=actions,
            length=float(self._steps.mean()) * dt,
            shortest=float(self._steps.min()) * dt,
            ended=float(self._fell.float().mean()),
            causes=self._causes,
            physics_failures=self._env.sim.failures,
            clipped=clipped,
        )


def _weighted(term: RewardTerm, value: Tensor) -> Tensor:
    return term.weight * (value if term.clip is None else value.clamp(*term.clip))


def _listened(task: TaskConfig) -> tuple[TaskConfig, dict[str, Recorder], dict[str, Recorder]]:
    """Return the task with recorders around its rewards and terminations, and those."""
    rewards = {name: Recorder(term.func) for name, term in task.rewards.items() if term.weight}
    terminations = {name: Recorder(term.func) for name, term in task.terminations.items()}
    changed = replace(
        task,
        rewards={
            name: replace(term, func=rewards.get(name, term.func))
            for name, term in task.rewards.items()
        },
        terminations={
            name: replace(term, func=terminations[name]) for name, term in task.terminations.items()
        },
    )
    return changed, rewards, terminations
