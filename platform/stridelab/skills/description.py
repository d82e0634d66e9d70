"""Skills as plain data and weights, for a high-level policy that executes them itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from stridelab.export.bundle import WEIGHTS
from stridelab.skills.skill import Skill, SkillSet
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import UserError
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp.skills import standing_wrists
from stridelab_envs.mdp.terms import ObservationTerm, TermFunction

SKILL_STATE = "skill_state"
"""Observation group of the high-level task with what skills look at besides their commands."""
_FROM_COMMAND: dict[TermFunction, tuple[str, dict[str, TermFunction]]] = {
    obs.command: ("command", {}),
    obs.wrist_error: ("wrists", {"columns": obs.wrist_pos}),
    obs.height_error: ("height", {"columns": obs.base_height}),
    obs.foot_error: ("feet", {"columns": obs.foot_pos, "heading": obs.base_heading}),
}
"""Terms that depend on the command: kind of part, and the functions whose columns it is made of."""


def describe_skills(skills: SkillSet, env: BatchEnv) -> list[dict[str, Any]]:
    """Describe the skills for :class:`stridelab.modules.frozen_skills.FrozenSkills`.

    Args:
        skills: The skills.
        env: Environments of the high-level task.

    Raises:
        UserError: A skill was trained for another robot, rate or action, or the task's group
            ``skill_state`` does not show what it looks at.
    """
    if SKILL_STATE not in env.layouts:
        raise UserError(
            f'task {env.task.id}: has no observation group "{SKILL_STATE}", which skills look at'
        )
    return [_describe(skill, env) for skill in skills.skills]


def skill_weights(skills: SkillSet) -> dict[str, dict[str, Tensor]]:
    """Return the weights of the skills' networks and normalisers, name to state dict."""
    return {
        skill.name: {key: t.clone() for key, t in skill.policy.module.state_dict().items()}
        for skill in skills.skills
    }


def _describe(skill: Skill, env: BatchEnv) -> dict[str, Any]:
    policy = skill.policy
    if policy.description.get("module") != "actor_critic":
        raise UserError(f"{skill.bundle}: a skill must be of the module actor_critic")
    try:
        policy.check_fits(env, groups={})
    except UserError as error:
        raise UserError(f"{skill.bundle}: {error}") from None
    terms = skill.task.observations["policy"]
    layout = policy.description["env"]["layouts"]["policy"]
    width = skill.columns.stop - skill.columns.start
    return {
        "name": skill.name,
        "command_name": skill.command,
        "command": list(skill.ranges),
        "low": [low for low, _ in skill.ranges.values()],
        "high": [high for _, high in skill.ranges.values()],
        "spare": width - len(skill.ranges),
        "parts": [_part(skill, name, term, env) for name, term in terms.items()],
        "observation_size": max(stop for _, stop in layout.values()),
        "model_config": dict(policy.module.model_config),
        "sha256": hashlib.sha256((skill.bundle / WEIGHTS).read_bytes()).hexdigest(),
    }


def _part(skill: Skill, name: str, term: ObservationTerm, env: BatchEnv) -> dict[str, Any]:
    """Say where one term of a skill's observation comes from."""
    if term.func not in _FROM_COMMAND:
        columns, unit = _find(skill, name, term.func, term.params, env)
        return {"kind": "state", "columns": columns, "scale": term.scale / unit}
    kind, sources = _FROM_COMMAND[term.func]
    part: dict[str, Any] = {"kind": kind, "scale": term.scale}
    for key, func in sources.items():
        columns, unit = _find(skill, name, func, {}, env)
        if unit != 1.0:
            raise UserError(
                f"task {env.task.id}: observations.{SKILL_STATE}: {func.__name__} must have scale "
                f"1 for skill {skill.name}, got {unit:g}"
            )
        part[key] = columns
    if kind == "wrists":
        part["default"] = standing_wrists(env.sim.model, env.robot).tolist()
    if kind == "feet":
        params = skill.task.commands[skill.command].params
        part |= {"spread_x": params["spread_x"], "spread_y": list(params["spread_y"])}
    return part


def _find(
    skill: Skill, name: str, func: TermFunction, params: Mapping[str, Any], env: BatchEnv
) -> tuple[list[int], float]:
    """Return columns and scale of what ``func`` shows in the group ``skill_state``."""
    for own, term in env.task.observations[SKILL_STATE].items():
        if term.func is func and dict(term.params) == dict(params) and term.scale:
            columns = env.layouts[SKILL_STATE][own]
            return [columns.start, columns.stop], term.scale
    given = f" with {dict(params)}" if params else ""
    raise UserError(
        f"task {env.task.id}: observations.{SKILL_STATE} lacks {func.__name__}{given}, which skill "
        f"{skill.name} needs for {name}"
    )
