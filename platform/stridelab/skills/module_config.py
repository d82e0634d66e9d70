"""From the ``model`` section of a hierarchical experiment to the module's configuration."""

from __future__ import annotations

from typing import Any

from stridelab.experiment.hierarchical_section import HierarchicalSection
from stridelab.experiment.paths import named_file
from stridelab.modules.hierarchical import WEIGHTS
from stridelab.skills.description import describe_skills, skill_weights
from stridelab.skills.skill import SkillSet, load_skills
from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig

_GATINGS = ("learned", "random")


def hierarchical_config(model: HierarchicalSection, task: TaskConfig) -> dict[str, Any]:
    """Read the skills and return ``model_config`` of :class:`Hierarchical`, weights included.

    Raises:
        UserError: The skills cannot be read, do not fit the task, or the gating or the curriculum
            names what none of them has.
    """
    skills = load_skills(named_file(model.skills))
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    return {
        "actor_hidden": list(model.actor_hidden),
        "critic_hidden": list(model.critic_hidden),
        "activation": "elu",
        "normalize_observations": model.normalize_observations,
        "history": dict(task.history),
        "skills": describe_skills(skills, env),
        "hold_steps": model.hold_steps,
        "hold_command": model.hold_command,
        "random_gating": model.gating == "random",
        "fixed_skill": _fixed_skill(model, skills),
        "affine_commands": model.command_head == "affine",
        "command_std": model.command_std,
        "gating_entropy": model.gating_entropy.model_dump(),
        "literal": model.likelihood == "document",
        "residual": {"clip": model.residual.clip, "start": model.residual.start},
        "curriculum": _curriculum(model, skills),
        "control_dt": env.control_dt,
        "max_seq_len": 20,  # RLlib's own learner cuts the episodes of modules with a state
        WEIGHTS: skill_weights(skills),
    }


def _fixed_skill(model: HierarchicalSection, skills: SkillSet) -> int | None:
    """Return the number of the only skill to be executed, if there is one."""
    names = [skill.name for skill in skills.skills]
    if model.gating in names:
        return names.index(model.gating)
    if model.gating in _GATINGS:
        return None
    raise ConfigError("model.gating", unknown_name("gating", model.gating, [*_GATINGS, *names]))


def _curriculum(model: HierarchicalSection, skills: SkillSet) -> list[dict[str, Any]]:
    known = {skill.name: skill for skill in skills.skills}
    entries = []
    for name, columns in model.curriculum.items():
        path = f"model.curriculum.{name}"
        if name not in known:
            raise ConfigError(path, unknown_name("skill", name, known))
        skill = known[name]
        for column, entry in columns.items():
            if column not in skill.ranges:
                message = unknown_name("command", column, skill.ranges)
                raise ConfigError(f"{path}.{column}", message)
            least, most = skill.ranges[column]
            low, high = entry.range
            if not least <= low <= high <= most:
                message = f"must lie within [{least:g}, {most:g}], got [{low:g}, {high:g}]"
                raise ConfigError(f"{path}.{column}.range", message)
            place = skill.columns.start + list(skill.ranges).index(column)
            entries.append({"place": place, "low": low, "high": high, "until": entry.until})
    return entries
