"""Trained skills inside a high-level policy: what each sees is put together, all are executed.

A skill is described by plain data, so that a policy bundle holds all of it:

- ``name``; ``command_name``: of its command in training; ``command``: names of the numbers it
  reads; ``low``, ``high``: their ranges; ``spare``: how many more its part of the high-level
  command has, which nobody reads;
- ``parts``: where its observation comes from, in order (see :data:`PARTS`);
- ``observation_size``, ``model_config``: of its network, an ``actor_critic``;
- ``sha256``: of the weights file it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from stridelab.modules.actor_critic import POLICY, ActorCritic
from stridelab_envs.mdp.skills import foot_error, foot_targets, height_error, wrist_error

ANCHOR_SIZE = 7
"""What is remembered when a skill is chosen: both feet's xyz [m], world frame, heading [rad]."""

Part = Mapping[str, Any]
SkillDescription = Mapping[str, Any]


def _state(part: Part, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
    """Return columns as they are observed."""
    return _columns(state, part["columns"])


def _command(part: Part, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
    """Return the command."""
    return command


def _wrists(part: Part, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
    """Return wrists minus targets; ``default`` is where the standing robot's are [m]."""
    wrists = _columns(state, part["columns"]).unflatten(1, (2, 3))
    return wrist_error(wrists, state.new_tensor(part["default"]), command).flatten(1)


def _height(part: Part, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
    """Return height minus command."""
    return height_error(_columns(state, part["columns"]), command)


def _feet(part: Part, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
    """Return feet minus targets in the heading frame; the targets lie around the anchors."""
    targets = foot_targets(
        anchor[:, :6].unflatten(1, (2, 3)),
        anchor[:, 6],
        command,
        part["spread_x"],
        part["spread_y"],
    )
    feet = _columns(state, part["columns"]).unflatten(1, (2, 3))
    return foot_error(feet, targets, _columns(state, part["heading"])[:, 0]).flatten(1)


PARTS: dict[str, Callable[[Part, Tensor, Tensor, Tensor], Tensor]] = {
    "state": _state,
    "command": _command,
    "wrists": _wrists,
    "height": _height,
    "feet": _feet,
}
"""Sources of a skill's observation, each ``(n, k)`` from the group ``skill_state (n, size)``,
``command (n, width)`` and ``anchor (n, 7)``; ``scale`` of a part multiplies what they return."""


def _columns(state: Tensor, columns: Sequence[int]) -> Tensor:
    return state[:, columns[0] : columns[1]]


class FrozenSkill(nn.Module):
    """One skill: builds its observation and gives its mean action. It holds no parameters.

    Args:
        description: See the module's text.
        num_actions: Width of an action.
    """

    def __init__(self, description: SkillDescription, num_actions: int) -> None:
        super().__init__()
        self.parts = list(description["parts"])
        self.num_actions = num_actions
        self.policy = ActorCritic(
            observation_space=spaces.Dict({POLICY: _box(int(description["observation_size"]))}),
            action_space=_box(num_actions),
            model_config=dict(description["model_config"]),
            inference_only=True,
        )
        _freeze(self.policy)

    def observe(self, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
        """Return what the skill looks at, as in its training, ``(n, observation_size)``.

        Args:
            state: Observation group ``skill_state``, ``(n, size)``.
            command: What it is told, ``(n, width)``.
            anchor: As of :meth:`FrozenSkills.forward`.
        """
        parts = [PARTS[p["kind"]](p, state, command, anchor) * p["scale"] for p in self.parts]
        return torch.cat(parts, dim=1)

    def forward(self, state: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
        """Return the mean action, ``(n, num_actions)``."""
        obs = self.policy.normalize({POLICY: self.observe(state, command, anchor)})
        return self.policy.act(obs[POLICY])[:, : self.num_actions]


class FrozenSkills(nn.Module):
    """All skills of a high-level policy, side by side in its command.

    Args:
        descriptions: The skills in order.
        num_actions: Width of an action.
    """

    def __init__(self, descriptions: Sequence[SkillDescription], num_actions: int) -> None:
        super().__init__()
        self.names = tuple(str(skill["name"]) for skill in descriptions)
        self.command_names = tuple(str(skill["command_name"]) for skill in descriptions)
        self.skills = nn.ModuleList(FrozenSkill(skill, num_actions) for skill in descriptions)
        widths = [len(skill["command"]) + int(skill["spare"]) for skill in descriptions]
        stops = np.cumsum(widths).tolist()
        self.slices = [slice(b - w, b) for b, w in zip(stops, widths, strict=True)]
        """Each skill's part of the command."""
        self.read = [
            slice(part.start, part.start + len(skill["command"]))
            for skill, part in zip(descriptions, self.slices, strict=True)
        ]
        """What each skill reads of it: its part without spare numbers."""
        self.command_size = int(stops[-1])
        self.columns = {
            f"{skill['name']}.{column}": part.start + index
            for skill, part in zip(descriptions, self.read, strict=True)
            for index, column in enumerate(skill["command"])
        }
        """``skill.column`` to place in the command; spare numbers have no name."""
        self.num_actions = num_actions

    def used(self, *, spare: bool) -> tuple[tuple[bool, ...], ...]:
        """Return which numbers of the command each skill reads, with or without its spare ones."""
        parts = self.slices if spare else self.read
        return tuple(
            tuple(part.start <= i < part.stop for i in range(self.command_size)) for part in parts
        )

    def anchor(self, state: Tensor) -> Tensor:
        """Return what to remember when a skill is chosen, ``(n, 7)``; zero if none needs it."""
        for skill in self.skills:
            assert isinstance(skill, FrozenSkill)
            for part in skill.parts:
                if part["kind"] == "feet":
                    feet = _columns(state, part["columns"])
                    return torch.cat([feet, _columns(state, part["heading"])], dim=1)
        return state.new_zeros(state.shape[0], ANCHOR_SIZE)

    def forward(self, state: Tensor, skill: Tensor, command: Tensor, anchor: Tensor) -> Tensor:
        """Execute skill ``skill (n,)`` in each row.

        Args:
            state: Observation group ``skill_state``, ``(n, size)``.
            skill: Numbers of the skills, ``(n,)`` int64.
            command: Whole commands within their ranges, ``(n, command_size)``.
            anchor: From :meth:`anchor` when the skill was chosen, ``(n, 7)``.

        Returns:
            Actions, ``(n, num_actions)``.
        """
        actions = state.new_zeros(state.shape[0], self.num_actions)
        for number, (policy, part) in enumerate(zip(self.skills, self.read, strict=True)):
            rows = (skill == number).nonzero().flatten()
            if rows.numel():
                actions[rows] = policy(state[rows], command[rows, part], anchor[rows])
        return actions

    def load_weights(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over the weights of trained skills, name to state dict; critics are left out."""
        for name, skill in zip(self.names, self.skills, strict=True):
            assert isinstance(skill, FrozenSkill)
            own = skill.policy.state_dict()
            skill.policy.load_state_dict({key: weights[name][key] for key in own}, strict=True)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def _freeze(network: nn.Module) -> None:
    """Turn all parameters into buffers: they are saved and sent, but no optimiser finds them."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
