"""A task in the mirror: observations and actions of the robot whose left is the other's right."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.mdp.mirror import Mirror, Scene, Unmirrored, rule_of
from stridelab_envs.mdp.terms import ObservationTerm, TermFunction
from stridelab_envs.robots import get_robot
from stridelab_envs.robots.spec import RobotSpec
from stridelab_envs.tasks.config import TaskConfig


@dataclass(frozen=True)
class _Places:
    """Where the numbers of an image come from: columns and their factors, each ``(size,)``."""

    source: Tensor
    factor: Tensor

    def apply(self, values: Tensor) -> Tensor:
        return values[..., self.source] * self.factor

    def to(self, device: torch.device) -> _Places:
        return _Places(self.source.to(device), self.factor.to(device))


@dataclass(frozen=True)
class _Sum:
    """Columns of an image to which something is added."""

    columns: slice
    added: _Places


@dataclass(frozen=True)
class _Exception:
    """Columns that stay as they are in some rows."""

    columns: slice
    unless: Unmirrored
    told_by: list[tuple[slice, float]]
    """Columns of the terms that tell in which rows, and the terms' scales."""

    def rows(self, frames: Tensor) -> Tensor:
        values = [frames[..., columns] / scale for columns, scale in self.told_by]
        return self.unless.when(torch.cat(values, dim=-1)).unsqueeze(-1)


class _Group:
    """The mirror of one observation group; arguments as of :class:`TaskMirror`."""

    def __init__(self, group: str, terms: Mapping[str, ObservationTerm], scene: Scene) -> None:
        self._path = f"observations.{group}"
        self._terms = terms
        self._layout: dict[str, slice] = {}
        self.size = 0
        """Numbers of a frame."""
        mirrors = {name: self._ask(name, term, scene) for name, term in terms.items()}
        for name, mirror in mirrors.items():
            width = len(mirror.source)
            self._layout[name] = slice(self.size, self.size + width)
            self.size += width
        own = [self._places(name, mirror) for name, mirror in mirrors.items()]
        self._all = _Places(
            torch.cat([places.source for places in own]),
            torch.cat([places.factor for places in own]),
        )
        self._sums = [
            _Sum(self._layout[name], self._places(name, mirror.plus))
            for name, mirror in mirrors.items()
            if mirror.plus is not None
        ]
        self._exceptions = [
            _Exception(self._layout[name], mirror.unless, self._exact_values(name, mirror.unless))
            for name, mirror in mirrors.items()
            if mirror.unless is not None
        ]

    def _ask(self, name: str, term: ObservationTerm, scene: Scene) -> Mirror:
        """Return the mirror of a term, from the rule of its function."""
        path, rule = f"{self._path}.{name}", rule_of(term.func)
        if rule is None:
            raise ConfigError(
                path,
                f"{term.func.__name__}() does not say how it looks in the mirror, which "
                "algorithm.symmetry needs (see stridelab_envs.mdp.mirror.mirrored)",
            )
        try:
            return rule(scene, **term.params)
        except ConfigError as error:
            raise error.under(path) from None

    def _places(self, name: str, mirror: Mirror) -> _Places:
        """Return where a term's image comes from in the frame."""
        term, holder = self._terms[name], name
        if mirror.params:
            holder = self._find(name, term.func, {**term.params, **mirror.params})
        scale = term.scale / self._terms[holder].scale
        start = self._layout[holder].start
        return _Places(start + torch.tensor(mirror.source), scale * torch.tensor(mirror.sign))

    def _find(self, name: str, func: TermFunction, params: Mapping[str, Any]) -> str:
        """Return the term with this function and these parameters, which ``name`` depends on."""
        for found, term in self._terms.items():
            if term.func is func and term.params == params:
                return found
        settings = ", ".join(f"{key}={value}" for key, value in params.items())
        message = f"has no mirror image in this group without {func.__name__}({settings})"
        raise ConfigError(f"{self._path}.{name}", f"{message}, which algorithm.symmetry needs")

    def _exact_values(self, name: str, unless: Unmirrored) -> list[tuple[slice, float]]:
        """Return the columns and scales of terms that tell of a term's exceptions."""
        params = self._terms[name].params
        tellers = [self._find(name, func, params) for func in unless.terms]
        for teller in tellers:
            if self._terms[teller].noise:
                message = "must be 0 for algorithm.symmetry, which looks at exact values"
                raise ConfigError(f"{self._path}.{teller}.noise", message)
        return [(self._layout[teller], self._terms[teller].scale) for teller in tellers]

    def to(self, device: torch.device) -> _Group:
        there = copy(self)
        there._all = self._all.to(device)
        there._sums = [_Sum(one.columns, one.added.to(device)) for one in self._sums]
        return there

    def apply(self, frames: Tensor) -> Tensor:
        images = self._all.apply(frames)
        for one in self._sums:
            images[..., one.columns] += one.added.apply(frames)
        for kept in self._exceptions:
            own, image = frames[..., kept.columns], images[..., kept.columns]
            images[..., kept.columns] = torch.where(kept.rows(frames), own, image)
        return images


class TaskMirror:
    """Mirrors raw frames of a task's observation groups, and actions.

    The mirror image of the mirror image is the original. Frames of a history are mirrored one by
    one; noise and what is drawn at random is taken to be as likely on either side.

    Args:
        task: The task.

    Raises:
        ConfigError: If a term does not say how it mirrors, or the task is not the same on both
            sides; the path is relative to the task.
    """

    def __init__(self, task: TaskConfig) -> None:
        robot = get_robot(task.robot)
        scene = Scene(robot=robot, commands=task.commands)
        self._actions = _action_places(task, robot)
        self._groups = {
            group: _Group(group, terms, scene) for group, terms in task.observations.items()
        }

    def to(self, device: torch.device) -> TaskMirror:
        """Return a copy on the device of what is to be mirrored."""
        there = copy(self)
        there._actions = self._actions.to(device)
        there._groups = {name: group.to(device) for name, group in self._groups.items()}
        return there

    def actions(self, actions: Tensor) -> Tensor:
        """Return the mirror images of ``actions (..., num_joints)``."""
        return self._actions.apply(actions)

    def frames(self, group: str, frames: Tensor) -> Tensor:
        """Return the mirror images of raw frames of an observation group, ``(..., size)``.

        Raises:
            UserError: If the frames are of another size than the terms' mirror images.
        """
        size = self._groups[group].size
        if frames.shape[-1] != size:
            raise UserError(
                f'mirror images of group "{group}" have {size} numbers, but its frames have '
                f"{frames.shape[-1]}: the mirror of one of its terms has the wrong width"
            )
        return self._groups[group].apply(frames)


def _action_places(task: TaskConfig, robot: RobotSpec) -> _Places:
    """Return the joints' places and signs.

    Raises:
        ConfigError: If actions do not mean the same on both sides.
    """
    places = {joint: number for number, joint in enumerate(robot.joints)}
    source = torch.tensor([places[partner] for partner, _ in robot.mirror])
    factor = torch.tensor([float(sign) for _, sign in robot.mirror])
    if isinstance(task.action_scale, Mapping):
        scale = torch.tensor(robot.per_joint(task.action_scale, "action_scale"))
        for joint, own, other in zip(robot.joints, scale, scale[source], strict=True):
            if own != other:
                message = f"must be equal on both sides for algorithm.symmetry, but {joint} has"
                raise ConfigError("action_scale", f"{message} {own:g}, its partner {other:g}")
    return _Places(source, factor)
