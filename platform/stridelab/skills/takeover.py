"""Teach skills to take over from one another; one that keeps its balance in motion shows how.

A skill that was trained to stand and reach falls when it takes over from a robot in full stride.
Walking, told to stand still, recovers from that. So while the skills take turns, the students learn
by regression what to do in the states they come to themselves (DAgger, Ross et al. 2011): what the
teacher would do as long as the robot is not calm, and from then on what they did before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from stridelab.algorithms.ppo.config import module_spec
from stridelab.experiment.loader import load_mapping
from stridelab.experiment.section import Integer, Section
from stridelab.export.bundle import Policy, describe_env, save_bundle
from stridelab.modules.actor_critic import POLICY, ActorCritic
from stridelab.modules.transfer import transfer_weights
from stridelab.skills.skill import Skill, SkillSet, load_skills
from stridelab.tracking.provenance import git_commit
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import UserError, unknown_name
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env

_STUDENT = "{}_student"
"""Name of the observation group of a student, which may see more than its bundle does."""
_ROLLOUT_S = 0.5
"""Simulated time between two rounds of learning [s]."""
_FIRST_ROUNDS = 0.1
"""Part of the training in which the students gradually take control."""


class _Student(Section):
    """What counts as calm for one student, besides being slow."""

    least_height: float = Field(default=0.0, ge=0.0, description="Of the base when calm [m].")


class TakeoverSettings(Section):
    """The file of ``stridelab takeover``."""

    skills: str = Field(min_length=1, description="Skills file, relative to this one.")
    teacher: str = Field(description="Skill that recovers, with its command at zero.")
    students: dict[str, _Student] = Field(min_length=1, description="Skills that learn.")
    calm_speed: float = Field(default=0.15, gt=0.0, description="Of a calm base [m/s].")
    calm_turning: float = Field(default=0.5, gt=0.0, description="Of a calm base [rad/s].")
    longest_s: float = Field(default=1.5, gt=0.0, description="Longest recovery [s].")
    turn_s: float = Field(default=2.0, gt=0.0, description="Time each skill has control [s].")
    num_envs: Integer = Field(default=256, ge=1, description="Robots.")
    env_steps: Integer = Field(default=1_500_000, ge=1, description="Length of the training.")
    learning_rate: float = Field(default=1e-3, gt=0.0, description="At first; it falls to zero.")
    minibatches: Integer = Field(default=40, ge=1, description="After each half second.")
    minibatch_size: Integer = Field(default=2048, ge=1, description="Samples.")
    memory: Integer = Field(default=300_000, ge=1, description="Latest samples kept of a student.")


@dataclass(kw_only=True)
class _Learner:
    """A student: its network, what it has seen, and what it ought to have done."""

    skill: Skill
    module: ActorCritic
    env: dict[str, Any]
    group: str
    least_height: float
    settings: TakeoverSettings
    obs: Tensor
    actions: Tensor
    optimizer: torch.optim.Optimizer
    fresh: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Samples since the last round."""
    loss: float = float("nan")
    """Mean squared error of its latest minibatch."""

    @torch.no_grad()
    def act(self, obs: Mapping[str, Tensor]) -> Tensor:
        return self.module.mean_action(obs[self.group])

    def see(self, obs: Tensor, actions: Tensor) -> None:
        """Note samples ``(n, size)`` and labels ``(n, action_dim)``."""
        self.fresh.append((obs, actions))

    def learn(self, progress: float, generator: torch.Generator) -> None:
        """Go through some minibatches; ``progress`` of the training is over, 0 to 1.

        The oldest samples make room for those of the last round.
        """
        keep = self.settings.memory
        self.obs = torch.cat([self.obs, *(obs for obs, _ in self.fresh)])[-keep:]
        self.actions = torch.cat([self.actions, *(label for _, label in self.fresh)])[-keep:]
        self.fresh.clear()
        if not self.obs.shape[0]:  # few robots: none has been handed to this skill yet
            return
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * (1.0 - progress)
        size = self.settings.minibatch_size
        for _ in range(self.settings.minibatches):
            chosen = torch.randint(self.obs.shape[0], (size,), generator=generator)
            error = mse_loss(self.module.mean_action(self.obs[chosen]), self.actions[chosen])
            self.optimizer.zero_grad()
            error.backward()
            self.optimizer.step()
            self.loss = float(error.detach())


def load_settings(path: Path) -> tuple[TakeoverSettings, SkillSet]:
    """Read the file and the skills it names.

    Raises:
        UserError: One line that says what is wrong and where.
    """
    settings = load_mapping(path, TakeoverSettings)
    skills = load_skills(path.parent / settings.skills)
    names = [skill.name for skill in skills.skills]
    for name in (settings.teacher, *settings.students):
        if name not in names:
            raise UserError(f"{path}: {unknown_name('skill', name, names)}")
    if settings.teacher in settings.students:
        raise UserError(f"{path}: students.{settings.teacher}: is the teacher")
    return settings, skills


class Takeover:
    """Students and their teacher on robots that change hands at random.

    Args:
        settings: From :func:`load_settings`.
        skills: Likewise.
        seed: Of environments and of chance.
    """

    def __init__(self, settings: TakeoverSettings, skills: SkillSet, *, seed: int = 0) -> None:
        self.settings, self.skills = settings, skills.skills
        self.names = [skill.name for skill in self.skills]
        self.generator = torch.Generator().manual_seed(seed)
        drafts = {s.name: _draft(s) for s in self.skills if s.name in settings.students}
        task = skills.task(turn=settings.turn_s, episode_length_s=24.0)
        seen = {
            _STUDENT.format(name): env.task.observations[POLICY]
            for name, (_, env) in drafts.items()
        }
        task = replace(task, observations={**task.observations, **seen})
        self.env: BatchEnv = make_env(task, num_envs=settings.num_envs, seed=seed)
        self.learners = {
            name: self._learner(name, module, env) for name, (module, env) in drafts.items()
        }
        self.env_steps = 0
        self._begin()

    def _learner(self, name: str, module: ActorCritic, env: BatchEnv) -> _Learner:
        width = int(module.observation_space[POLICY].shape[0])
        return _Learner(
            skill=self.skills[self.names.index(name)],
            module=module,
            env=describe_env(env),
            group=_STUDENT.format(name),
            least_height=self.settings.students[name].least_height,
            settings=self.settings,
            obs=torch.empty(0, width),
            actions=torch.empty(0, self.env.action_dim),
            optimizer=torch.optim.Adam(module.actor.parameters()),
        )

    def _begin(self) -> None:
        count = self.env.num_envs
        self.obs = self.env.reset()
        self.active = torch.randint(len(self.names), (count,), generator=self.generator)
        self.since = torch.zeros(count)  # time since the robot changed hands [s]
        self.recovering = torch.zeros(count, dtype=torch.bool)
        self.led = torch.ones(count, dtype=torch.bool)  # by teachers, not by the student

    def run(self, on_round: Callable[[int, dict[str, float]], None] = lambda *_: None) -> None:
        """Train all students.

        Args:
            on_round: Called after each round with the environment steps so far and the errors.
        """
        total = self.settings.env_steps
        steps = max(1, round(_ROLLOUT_S / self.env.control_dt))
        while self.env_steps < total:
            progress = self.env_steps / total
            led = max(0.0, 1.0 - progress / _FIRST_ROUNDS)
            for _ in range(steps):
                self._step(led)
            for learner in self.learners.values():
                learner.learn(progress, self.generator)
            on_round(self.env_steps, {n: one.loss for n, one in self.learners.items()})

    @torch.no_grad()
    def _step(self, led: float) -> None:
        """Step all robots once; a share ``led`` of the turns to come is the teachers'."""
        self.recovering &= ~self._calm() & (self.since < self.settings.longest_s)
        recovery = self._recovery()
        action = torch.zeros(self.env.num_envs, self.env.action_dim)
        for index, skill in enumerate(self.skills):
            mine = self.active == index
            taught = skill.policy.act({POLICY: self.obs[skill.name]})
            learner = self.learners.get(skill.name)
            if learner is not None:
                taught = torch.where(self.recovering[:, None], recovery, taught)
                learner.see(self.obs[learner.group][mine], taught[mine])
                taught = torch.where(self.led[:, None], taught, learner.act(self.obs))
            action = torch.where(mine[:, None], taught, action)
        clock = next(iter(self.env.state.commands.values()))
        last_of_turn = clock.time_left < 1.5 * self.env.control_dt
        step = self.env.step(action)
        self.obs = step.obs
        self.env_steps += self.env.num_envs
        over = step.terminated | step.truncated
        self._hand_over(last_of_turn & ~over, over, led)

    def _hand_over(self, handing_over: Tensor, over: Tensor, led: float) -> None:
        """Give robots to another skill; one that has begun anew is nobody's to recover."""
        count, shape = len(self.names), self.active.shape
        further = torch.randint(1, max(2, count), shape, generator=self.generator)
        self.active = torch.where(handing_over, (self.active + further) % count, self.active)
        chosen = torch.rand(shape, generator=self.generator) < led
        self.led = torch.where(handing_over | over, chosen, self.led)
        self.recovering = (self.recovering | handing_over) & ~over
        self.since = torch.where(handing_over, 0.0, self.since + self.env.control_dt)

    def _calm(self) -> Tensor:
        state, settings = self.env.state, self.settings
        calm = state.base_lin_vel[:, :2].norm(dim=1) < settings.calm_speed
        calm &= state.base_ang_vel.norm(dim=1) < settings.calm_turning
        least = torch.tensor(
            [getattr(self.learners.get(name), "least_height", 0.0) for name in self.names]
        )
        return calm & (state.base_pos[:, 2] >= least[self.active])

    def _recovery(self) -> Tensor:
        """Return what the teacher does with its command at zero, ``(num_envs, action_dim)``."""
        teacher = self.skills[self.names.index(self.settings.teacher)]
        obs = self.obs[teacher.name].clone()
        told = [
            name
            for name, term in self.env.task.observations[teacher.name].items()
            if term.params.get("name") == teacher.command
        ]
        for name in told:
            obs[:, self.env.layouts[teacher.name][name]] = 0.0
        return teacher.policy.act({POLICY: obs})

    def save(self, folder: Path) -> list[Path]:
        """Write a bundle for each student, in a folder of its name; return the folders."""
        written = []
        for name, learner in self.learners.items():
            steps = int(learner.skill.policy.description["env_steps"]) + self.env_steps
            save_bundle(
                folder / name,
                learner.module,
                learner.skill.policy.experiment,
                learner.env,
                env_steps=steps,
                git_commit=git_commit(),
            )
            written.append(folder / name)
        return written


def _draft(skill: Skill) -> tuple[ActorCritic, BatchEnv]:
    """Return a copy of a skill's module, wide enough for what its task shows today, and that task.

    Critic and spread come along, so that the result can be trained further.
    """
    policy: Policy = skill.policy
    experiment = policy.experiment
    env = make_env(experiment.task_config(), num_envs=256, seed=0)
    spec = module_spec(experiment.model, env.task)
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    module: ActorCritic = spec.build()
    theirs, ours = policy.description["env"]["layouts"], describe_env(env)["layouts"]
    transfer_weights(policy.module, module, theirs, ours, env.reset())
    return module, env
