"""Bring teachers and guides of single tasks together in one policy, by regression alone.

Beside PPO's loss (``algorithm.imitation``) every sample is looked at a few times and then gone, and
what a guide shows takes long to learn. Here the student plays, its teachers say what they would
have done, and all it has seen lately is learned from again and again (DAgger, Ross et al. 2011).
Where a task has no teacher, the student stays what it was at the start.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stridelab.algorithms.ppo.advantages import columns_of, policy_layout
from stridelab.algorithms.ppo.config import taught
from stridelab.algorithms.ppo.task_teachers import TaskTeachers
from stridelab.experiment import Experiment
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.modules.actor_critic import POLICY
from stridelab.tracking.provenance import git_commit
from stridelab_envs.errors import ConfigError
from stridelab_envs.registry import make_env

_ROLLOUT = 20
"""Control steps between two rounds of learning."""
_MINIBATCHES, _MINIBATCH_SIZE = 40, 4096
"""Of a round."""
_MEMORY = 600_000
"""Latest samples that are kept."""


class Distillation:
    """A student and its teachers.

    Args:
        experiment: Its ``algorithm.imitation`` names the teachers, ``train.start_from`` the
            student; ``task``, ``algorithm.learning_rate`` and ``train.env_steps`` count, too.
        seed: Of environments and of chance.

    Raises:
        ConfigError: If there is no student, or there are no teachers for its tasks.
        UserError: If a bundle is missing or does not fit.
    """

    def __init__(self, experiment: Experiment, *, seed: int = 0) -> None:
        settings, task = experiment.algorithm, experiment.task_config()
        imitation, start = settings.imitation, experiment.train.start_from
        if imitation is None or not imitation.is_by_task:
            raise ConfigError("algorithm.imitation", "needs task_teachers or guides")
        if start is None:
            raise ConfigError("train.start_from", "is missing: the student to begin with")
        taught(task, settings)
        self.experiment, self.env_steps = experiment, 0
        self._started = load_bundle(named_file(start))
        self.module = self._started.module
        self.module.set_progress(1.0)
        self._before = copy.deepcopy(self.module)
        self.env = make_env(task, num_envs=experiment.task.num_envs, seed=seed)
        self._started.check_fits(self.env)
        assert settings.normalize_advantages_by is not None  # else refused above
        columns = columns_of(settings.normalize_advantages_by, task)
        self._teachers = TaskTeachers(imitation, columns, policy_layout(task), self.module)
        self._generator = torch.Generator().manual_seed(seed)
        actor = [p for name, p in self.module.named_parameters() if not name.startswith("critic")]
        self._optimizer = torch.optim.Adam([p for p in actor if p.requires_grad])
        self._frames = torch.empty(0)
        self._labels = torch.empty(0)

    def run(self, on_round: Callable[[int, float], None] = lambda *_: None) -> None:
        """Train the student.

        Args:
            on_round: Called after each round with the environment steps so far and the mean
                divergence [nat] of its minibatches.
        """
        total = self.experiment.train.env_steps
        controller = self._started.controller(self.env)
        obs = self.env.reset()
        while self.env_steps < total:
            seen = []
            for _ in range(_ROLLOUT):
                seen.append(obs[POLICY])
                obs = self.env.step(controller(obs)).obs
                self.env_steps += self.env.num_envs
            self._remember(torch.cat(seen))
            on_round(self.env_steps, self._learn(1.0 - self.env_steps / total))

    @torch.no_grad()
    def _remember(self, frames: Tensor) -> None:
        """Have ``frames (n, size)`` labelled, by what the student was where nobody else does."""
        labels = self._teachers.labels(frames)
        own = labels[:, -1] == 0
        before = self._before.act(self._before.normalize({POLICY: frames[own]})[POLICY])
        labels[own] = torch.nn.functional.pad(before, (0, 1), value=1.0)
        self._frames = torch.cat([self._frames, frames])[-_MEMORY:]
        self._labels = torch.cat([self._labels, labels])[-_MEMORY:]

    def _learn(self, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.experiment.algorithm.learning_rate * max(0.0, rate)
        losses = []
        for _ in range(_MINIBATCHES):
            size = (_MINIBATCH_SIZE,)
            rows = torch.randint(self._frames.shape[0], size, generator=self._generator)
            normalized = self.module.normalize({POLICY: self._frames[rows]})[POLICY]
            with torch.autocast("cpu", torch.bfloat16):
                inputs = self.module.act(normalized)
            dist = self.module.action_dist_cls.from_logits(inputs)
            loss = self._teachers.loss(dist, self._labels[rows])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def save(self, folder: Path) -> None:
        """Write the student's bundle. Its critic is still that of the start."""
        save_bundle(
            folder,
            self.module,
            self.experiment,
            describe_env(self.env),
            env_steps=int(self._started.description["env_steps"]) + self.env_steps,
            git_commit=git_commit(),
        )
