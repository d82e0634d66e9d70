"""One teacher for each of several tasks, all of them hierarchical policies.

A policy that learns many tasks at once has few samples of each, and what one task makes of the
skills disturbs the others. Policies that learned one task each can be brought together instead
(policy distillation, Rusu et al. 2016), in the states the student itself comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stridelab.experiment.imitation_section import ImitationSection
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import Policy, load_bundle
from stridelab.modules.actor_critic import POLICY
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

_PATH = "algorithm.imitation.task_teachers"


def load_teachers(paths: Sequence[str], columns: slice) -> dict[int, Policy]:
    """Read the teachers' bundles; each says by its own task which one it teaches.

    Args:
        paths: The bundles.
        columns: Where the one-hot task lies in a frame of the group ``policy``.

    Returns:
        Teacher of each column of the one-hot.

    Raises:
        ConfigError: A teacher is of another kind, or another one teaches the same task.
        UserError: There is no bundle or it is damaged.
    """
    teachers: dict[int, Policy] = {}
    for index, path in enumerate(paths):
        teacher, place = load_bundle(named_file(path)), f"{_PATH}[{index}]"
        kind = teacher.experiment.model.kind
        if kind != "hierarchical":
            raise ConfigError(place, f"must be a hierarchical policy, {path} is of kind {kind}")
        env = make_env(teacher.experiment.task_config(), num_envs=1, seed=0, num_threads=1)
        number = int(env.reset()[POLICY][0, columns].argmax())
        if number in teachers:
            raise ConfigError(place, f"teaches {env.task.id}, as another one does: {path}")
        teachers[number] = teacher
    return teachers


def check_teachers(paths: Sequence[str], columns: slice | None, task: TaskConfig) -> None:
    """Refuse teachers that look at something else than the student.

    Args:
        paths: The teachers' bundles.
        columns: Where the one-hot task lies in a frame of the group ``policy``, if it is named.
        task: What the student learns.

    Raises:
        ConfigError: Says which teacher, and why.
        UserError: There is no bundle or it is damaged.
    """
    if columns is None:
        message = "several teachers need the one-hot term that says whose turn it is, such as task"
        raise ConfigError("algorithm.normalize_advantages_by", message)
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    for index, teacher in enumerate(load_teachers(paths, columns).values()):
        try:
            teacher.check_fits(env)
        except UserError as error:
            raise ConfigError(f"{_PATH}[{index}]", str(error)) from None


class TaskTeachers:
    """The teachers in the learner.

    Args:
        settings: The ``algorithm.imitation`` section.
        columns: Where the one-hot task lies in a frame of the group ``policy``.
        device: Where the learner computes.
    """

    group = POLICY
    """The observations that :meth:`labels` takes."""

    def __init__(self, settings: ImitationSection, columns: slice, device: torch.device) -> None:
        self.settings, self.coef = settings, settings.coef
        self._columns = columns
        teachers = load_teachers(settings.task_teachers, columns)
        self._modules = {number: t.module.to(device) for number, t in teachers.items()}

    @torch.no_grad()
    def labels(self, frames: Tensor) -> Tensor:
        """Return the teachers' distributions for raw ``frames (n, size)``.

        Returns:
            Inputs of a distribution, and 1 where there is a teacher, ``(n, input_size + 1)``.
        """
        number = frames[:, self._columns].argmax(dim=1)
        labels = frames.new_zeros(0)
        for own, module in self._modules.items():
            rows = (number == own).nonzero().flatten()
            # As if no skill were held: there is more to learn from all states than from choices.
            inputs = module.act(module.normalize({POLICY: frames[rows]})[POLICY])
            if not labels.numel():
                labels = frames.new_zeros(frames.shape[0], inputs.shape[-1] + 1)
            labels[rows] = torch.nn.functional.pad(inputs, (0, 1), value=1.0)
        return labels

    def loss(self, dist: Any, labels: Tensor) -> Tensor:
        """Divergence KL(teacher | student) [nat], mean over the rows that have a teacher.

        Args:
            dist: The student's distribution of ``n`` actions.
            labels: What :meth:`labels` gave for them.
        """
        taught = labels[:, -1]
        divergence = type(dist).from_logits(labels[:, :-1]).kl(dist)
        return (divergence * taught).sum() / taught.sum().clamp(min=1.0)
