"""One teacher for each of several tasks: hierarchical policies and hand-written guides.

A policy that learns many tasks at once has few samples of each, and what one task makes of the
skills disturbs the others. Policies that learned one task each can be brought together instead
(policy distillation, Rusu et al. 2016), in the states the student itself comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stridelab.algorithms.ppo.guide_teacher import GuideTeacher
from stridelab.experiment.imitation_section import ImitationSection
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import Policy, load_bundle
from stridelab.modules.actor_critic import POLICY
from stridelab.modules.hierarchical import Hierarchical
from stridelab.skills.guides import GUIDES
from stridelab_envs.errors import ConfigError, UserError, unknown_name
from stridelab_envs.registry import get_task, make_env
from stridelab_envs.tasks.config import TaskConfig

_PATH, _GUIDES = "algorithm.imitation.task_teachers", "algorithm.imitation.guides"


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
        task = teacher.experiment.task_config()
        number = _number_of(task, columns)
        if number in teachers:
            raise ConfigError(place, f"teaches {task.id}, as another one does: {path}")
        teachers[number] = teacher
    return teachers


def _number_of(task: TaskConfig, columns: slice) -> int:
    """Return a single task's column of the one-hot."""
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    return int(env.reset()[POLICY][0, columns].argmax())


def guided(names: Sequence[str], taken: Sequence[int], columns: slice) -> dict[int, str]:
    """Return which guide teaches which column of the one-hot.

    Args:
        names: Tasks whose guides teach.
        taken: Columns that have another teacher.
        columns: Where the one-hot task lies in a frame of the group ``policy``.

    Raises:
        ConfigError: There is no such guide, or its task has another teacher.
    """
    found: dict[int, str] = {}
    for index, name in enumerate(names):
        place = f"{_GUIDES}[{index}]"
        if name not in GUIDES:
            raise ConfigError(place, unknown_name("guide", name, GUIDES))
        number = _number_of(get_task(name), columns)
        if number in taken or number in found:
            raise ConfigError(place, f"{name} has another teacher")
        found[number] = name
    return found


def check_teachers(settings: ImitationSection, columns: slice | None, task: TaskConfig) -> None:
    """Refuse teachers that look at something else than the student.

    Args:
        settings: The ``algorithm.imitation`` section.
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
    teachers = load_teachers(settings.task_teachers, columns)
    for index, teacher in enumerate(teachers.values()):
        try:
            teacher.check_fits(env)
        except UserError as error:
            raise ConfigError(f"{_PATH}[{index}]", str(error)) from None
    guided(settings.guides, list(teachers), columns)


class TaskTeachers:
    """The teachers in the learner.

    Args:
        settings: The ``algorithm.imitation`` section.
        columns: Where the one-hot task lies in a frame of the group ``policy``.
        layout: Where each of its terms lies.
        student: The policy that learns, on the learner's device.
    """

    group = POLICY
    """The observations that :meth:`labels` takes."""

    def __init__(
        self,
        settings: ImitationSection,
        columns: slice,
        layout: Mapping[str, slice],
        student: Hierarchical,
    ) -> None:
        self.settings, self.coef = settings, settings.coef
        self._columns = columns
        device = student.scaling.device
        teachers = load_teachers(settings.task_teachers, columns)
        self._inputs: dict[int, Callable[[Tensor], Tensor]] = {
            number: _InputsOf(teacher.module.to(device)) for number, teacher in teachers.items()
        }
        self._weights = dict.fromkeys(self._inputs, 1.0)
        for number, name in guided(settings.guides, list(teachers), columns).items():
            self._inputs[number] = GuideTeacher(name, student, layout)
            self._weights[number] = settings.guide_weight

    @torch.no_grad()
    def labels(self, frames: Tensor) -> Tensor:
        """Return the teachers' distributions for raw ``frames (n, size)``.

        Returns:
            Inputs of a distribution, and how much each row counts, ``(n, input_size + 1)``; 0
            where there is no teacher.
        """
        number = frames[:, self._columns].argmax(dim=1)
        labels = frames.new_zeros(0)
        for own, inputs_of in self._inputs.items():
            rows = (number == own).nonzero().flatten()
            inputs = inputs_of(frames[rows])
            if not labels.numel():
                labels = frames.new_zeros(frames.shape[0], inputs.shape[-1] + 1)
            labels[rows] = torch.nn.functional.pad(inputs, (0, 1), value=self._weights[own])
        return labels

    def loss(self, dist: Any, labels: Tensor) -> Tensor:
        """Divergence KL(teacher | student) [nat], weighted, over the rows that have a teacher.

        Args:
            dist: The student's distribution of ``n`` actions.
            labels: What :meth:`labels` gave for them.
        """
        weight = labels[:, -1]
        divergence = type(dist).from_logits(labels[:, :-1]).kl(dist)
        return (divergence * weight).sum() / (weight > 0).sum().clamp(min=1)


class _InputsOf:
    """A policy as a teacher: the inputs of its distribution for raw frames."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, frames: Tensor) -> Tensor:
        # As if no skill were held: there is more to learn from all states than from choices.
        inputs: Tensor = self._module.act(self._module.normalize({POLICY: frames})[POLICY])
        return inputs
