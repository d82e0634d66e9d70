"""A teacher beside PPO's own loss (kickstarting, Schmitt et al. 2018).

The student acts, so it is shown what to do in the states it comes to itself, as in DAgger. What it
may see and what the teacher sees are two things: the teacher has an observation group of its own,
without noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from stridelab.experiment.imitation_section import ImitationSection
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import Policy, load_bundle
from stridelab.modules.actor_critic import CRITIC, POLICY
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

TEACHER = "teacher"
"""Name of the teacher's observation group."""
_PATH = "algorithm.imitation.teacher"


def load_teacher(settings: ImitationSection) -> Policy:
    """Read the teacher's bundle.

    Raises:
        ConfigError: If it looks at a history.
        UserError: If there is no bundle or it is damaged.
    """
    assert settings.teacher is not None  # else there are several
    teacher = load_bundle(named_file(settings.teacher))
    if teacher.description["env"]["history"].get(POLICY, 1) > 1 or teacher.module.is_stateful():
        raise ConfigError(_PATH, "looks at more than the newest frame")
    return teacher


def shown_to(teacher: Policy, task: TaskConfig) -> TaskConfig:
    """Return ``task`` with the group :data:`TEACHER`: what ``teacher`` looks at, as it truly is.

    Where the critic is shown a term of the same name and scale, the teacher is shown that, which is
    neither noisy nor late; other terms lose their noise.

    Raises:
        ConfigError: If the teacher is of another robot, moves it otherwise, or follows commands
            the task does not have.
    """
    offered = teacher.experiment.task_config().observations[POLICY]
    names = teacher.description["env"]["layouts"][POLICY]
    true = task.observations.get(CRITIC, {})
    seen = {n: _clean(offered[n], true.get(n)) for n in names if n in offered}
    shown = replace(task, observations={**task.observations, TEACHER: seen})
    try:
        teacher.check_fits(make_env(shown, num_envs=1, seed=0), groups={POLICY: TEACHER})
    except (ConfigError, UserError) as error:
        raise ConfigError(_PATH, str(error)) from None
    return shown


def _clean(term: ObservationTerm, true: ObservationTerm | None) -> ObservationTerm:
    return true if true is not None and true.scale == term.scale else replace(term, noise=0.0)


class Imitation:
    """The teacher in the learner.

    Args:
        settings: The ``algorithm.imitation`` section.
        device: Where the learner computes.
    """

    group = TEACHER
    """The observations that :meth:`labels` takes."""

    def __init__(self, settings: ImitationSection, device: torch.device) -> None:
        self.settings = settings
        self.module = load_teacher(settings).module.to(device)
        self.coef = settings.coef

    @torch.no_grad()
    def labels(self, frames: Tensor) -> Tensor:
        """Return the teacher's mean actions ``(n, action_dim)`` for raw ``frames (n, size)``."""
        return self.module.mean_action(frames)

    def loss(self, dist: Any, labels: Tensor) -> Tensor:
        """Return :func:`imitation_loss`; there are no labels for mirror images in ``dist``."""
        own = slice(labels.shape[0])
        return imitation_loss(dist.mean[own], dist.log_std[own], labels)


def imitation_loss(mean: Tensor, log_std: Tensor, labels: Tensor) -> Tensor:
    """Divergence KL(teacher | student) [nat] of Gaussians with the student's spread.

    Args:
        mean: Of the student's actions, ``(n, action_dim)``.
        log_std: Likewise; no gradient goes through it.
        labels: Mean of the teacher's actions, likewise.
    """
    return 0.5 * ((mean - labels) / log_std.detach().exp()).square().sum(-1).mean()
