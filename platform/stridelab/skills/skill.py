"""``Skill``: a frozen policy, its slice of the high-level command, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from stridelab.experiment.loader import load_mapping
from stridelab.experiment.sections import Integer, Section
from stridelab.export.bundle import Policy, load_bundle
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import UserError
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.registry import get_task
from stridelab_envs.tasks.config import TaskConfig


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A trained policy that follows one command; it is not trained any further."""

    name: str
    """Name in the skills file; also of its observation group in the task of all skills."""
    command: str
    """Name of the command in the task that trained it."""
    ranges: Mapping[str, tuple[float, float]]
    """Columns of the command and their ranges, in order."""
    columns: slice
    """Its part of the high-level command, spare numbers at its end included."""
    observation: tuple[str, ...]
    """Names of the observation terms it looks at, in order."""
    bundle: Path
    """Folder of the trained policy."""
    policy: Policy
    """The policy."""

    @property
    def task(self) -> TaskConfig:
        """The task that trained it, with whole commands."""
        return self.policy.experiment.task_config().for_evaluation()

    def check_fits(self, env: BatchEnv) -> None:
        """Refuse an environment that does not show this skill what it was trained on.

        Raises:
            UserError: Names the difference.
        """
        self.policy.check_fits(env, groups={"policy": self.name})


@dataclass(frozen=True, kw_only=True)
class SkillSet:
    """All skills of a robot, side by side in one high-level command."""

    skills: tuple[Skill, ...]

    @property
    def command_size(self) -> int:
        """Width of the high-level command."""
        return self.skills[-1].columns.stop

    def task(self, *, turn: float, episode_length_s: float) -> TaskConfig:
        """Return a task without rewards in which every skill finds its command and observation.

        Robot, rates, terminations and randomisation are those that the first skill's task has
        without an experiment's changes. The observation groups bear the names of the skills.

        Args:
            turn: Time [s] after which all commands are drawn anew, all at once.
            episode_length_s: Time limit of an episode [s].
        """
        tasks = {skill.name: skill.task for skill in self.skills}
        commands = {
            skill.command: tasks[skill.name].commands[skill.command] for skill in self.skills
        }
        plain = get_task(self.skills[0].task.id).for_evaluation()
        return replace(
            plain,
            id="skills",
            description="A command and an observation group for each skill.",
            episode_length_s=episode_length_s,
            commands={
                name: replace(term, params={**term.params, "resampling_time": [turn, turn]})
                for name, term in commands.items()
            },
            observations={skill.name: _seen(skill) for skill in self.skills},
            rewards={},
            metrics={},
        )


def _seen(skill: Skill) -> dict[str, ObservationTerm]:
    """Return what a skill looks at; its task may show more than when it was trained."""
    offered = skill.task.observations["policy"]
    return {name: offered[name] for name in skill.observation if name in offered}


class _Entry(Section):
    """One skill of the file."""

    policy: str = Field(min_length=1, description="Bundle, relative to the file.")
    spare: Integer = Field(default=0, ge=0, le=64, description="Unused numbers of the command.")


class _File(Section):
    """The skills file."""

    skills: dict[str, _Entry] = Field(min_length=1, description="Skills in order.")


def load_skills(path: Path) -> SkillSet:
    """Read a skills file and the bundles it names.

    Raises:
        UserError: One line that says what is wrong and where.
    """
    content = load_mapping(path, _File)
    skills: list[Skill] = []
    start = 0
    for name, entry in content.skills.items():
        bundle = path.parent / entry.policy
        skill = _skill(name, entry, bundle, start)
        skills.append(skill)
        start = skill.columns.stop
    robots = {skill.name: skill.policy.description["env"]["robot"] for skill in skills}
    if len(set(robots.values())) > 1:
        listed = ", ".join(f"{name} {robot}" for name, robot in robots.items())
        raise UserError(f"{path}: skills of different robots: {listed}")
    named = [skill.command for skill in skills]
    for skill in skills:
        if named.count(skill.command) > 1:
            raise UserError(f'{path}: two skills follow a command called "{skill.command}"')
    return SkillSet(skills=tuple(skills))


def _skill(name: str, entry: _Entry, bundle: Path, start: int) -> Skill:
    policy = load_bundle(bundle)
    commands = policy.experiment.task_config().for_evaluation().commands
    if len(commands) != 1:
        raise UserError(f"{bundle}: a skill follows one command, this policy {len(commands)}")
    [(command, term)] = commands.items()
    if not {"ranges", "resampling_time"} <= term.params.keys():
        raise UserError(
            f'{bundle}: a skill follows a command of ranges and resampling_time, "{command}" is '
            f"another kind"
        )
    ranges: Mapping[str, Any] = term.params["ranges"]
    return Skill(
        name=name,
        command=command,
        ranges={column: (float(low), float(high)) for column, (low, high) in ranges.items()},
        columns=slice(start, start + len(ranges) + entry.spare),
        observation=tuple(policy.description["env"]["layouts"]["policy"]),
        bundle=bundle,
        policy=policy,
    )
