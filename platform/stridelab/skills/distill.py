"""Bring what teachers and guides know into one policy, by regression alone.

Beside PPO's loss (``algorithm.imitation``) every sample is looked at a few times and then gone, and
what is shown takes long to learn. Here the student plays, its teachers say what they would have
done, and all it has seen lately is learned from again and again (DAgger, Ross et al. 2011). A
module that predicts something of its own, a velocity say, learns that too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from stridelab.algorithms.ppo.advantages import columns_of, policy_layout
from stridelab.algorithms.ppo.config import module_spec, taught
from stridelab.algorithms.ppo.imitation import Imitation
from stridelab.algorithms.ppo.task_teachers import TaskTeachers
from stridelab.experiment import Experiment
from stridelab.experiment.paths import named_file
from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.modules.actor_critic import CRITIC, POLICY, ActorCritic
from stridelab.modules.carried import Controller
from stridelab.modules.history import last_frames
from stridelab.modules.transfer import transfer_weights
from stridelab.skills.memory import Memory
from stridelab.tracking.provenance import git_commit
from stridelab_envs.errors import ConfigError
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env

_ROLLOUT = 20
"""Control steps between two rounds of learning."""
_MINIBATCHES, _MINIBATCH_SIZE = 40, 4096
"""Of a round."""
_MEMORY = 2_000_000
"""Latest samples that are kept."""
_LABELS = "labels"
"""What the teachers said, in the memory."""


class Distillation:
    """A student and its teachers.

    Args:
        experiment: Its ``algorithm.imitation`` names the teachers, ``train.start_from`` what the
            student begins with, if it does not begin from nothing; ``task``, ``model``,
            ``algorithm.learning_rate`` and ``train.env_steps`` count, too.
        seed: Of environments, new networks and chance.

    Raises:
        ConfigError: If there are no teachers, or they do not fit the task.
        UserError: If a bundle is missing or does not fit.
    """

    def __init__(self, experiment: Experiment, *, seed: int = 0) -> None:
        settings, task = experiment.algorithm, experiment.task_config()
        if settings.imitation is None:
            raise ConfigError("algorithm.imitation", "is missing: it names the teachers")
        shown = taught(task, settings)
        self.experiment, self.env_steps = experiment, 0
        self._own_env = make_env(task, num_envs=256, seed=seed)  # knows nothing of teachers
        self.env = make_env(shown, num_envs=experiment.task.num_envs, seed=seed)
        torch.manual_seed(seed)
        self.module, self._steps_before = self._student()
        self._before = copy.deepcopy(self.module)
        if settings.imitation.is_by_task:
            assert settings.normalize_advantages_by is not None  # else refused above
            columns = columns_of(settings.normalize_advantages_by, task)
            self._teachers: Imitation | TaskTeachers = TaskTeachers(
                settings.imitation, columns, policy_layout(task), self.module
            )
        else:
            self._teachers = Imitation(settings.imitation, torch.device("cpu"))
        self._generator = torch.Generator().manual_seed(seed)
        actor = [p for name, p in self.module.named_parameters() if not name.startswith("critic")]
        self._optimizer = torch.optim.Adam([p for p in actor if p.requires_grad])
        self.memory = Memory(_MEMORY // self.env.num_envs, {POLICY: task.history.get(POLICY, 1)})

    def _student(self) -> tuple[ActorCritic, int]:
        """Return the module of the experiment and the steps it was trained for."""
        env = self._own_env
        spec = module_spec(self.experiment.model, env.task)
        spec.observation_space, spec.action_space = observation_space(env), action_space(env)
        module: ActorCritic = spec.build()
        steps, start = 0, self.experiment.train.start_from
        if start is not None:
            policy = load_bundle(named_file(start))
            policy.check_fits(env)
            ours = describe_env(env)["layouts"]
            theirs = policy.description["env"]["layouts"]
            transfer_weights(policy.module, module, theirs, ours, self._own_frames())
            steps = int(policy.description["env_steps"])
        else:
            module.update_normalizers(self._own_frames())
        module.set_progress(1.0)
        return module, steps

    def _own_frames(self) -> dict[str, Tensor]:
        """Return first frames of episodes, group to ``(n, size)``."""
        sizes = self._own_env.frame_sizes
        return {g: last_frames(o, 1, sizes[g]) for g, o in self._own_env.reset().items()}

    def run(self, on_round: Callable[[int, dict[str, float]], None] = lambda *_: None) -> None:
        """Train the student.

        Args:
            on_round: Called after each round with the environment steps so far and the means of
                its minibatches: ``loss`` is the divergence from the teachers [nat], the others
                are the module's own metrics.
        """
        total = self.experiment.train.env_steps
        controller = Controller(self.module, self.env)
        groups = {POLICY, self._teachers.group} | ({CRITIC} if self.module.predicts else set())
        obs = self.env.reset()
        while self.env_steps < total:
            seen, first = [], []
            for _ in range(_ROLLOUT):
                first.append(self.env.state.episode_step == 0)
                seen.append({g: last_frames(obs[g], 1, self.env.frame_sizes[g]) for g in groups})
                obs = self.env.step(controller(obs)).obs
                self.env_steps += self.env.num_envs
            frames = {group: torch.stack([one[group] for one in seen]) for group in groups}
            self._remember(frames, torch.stack(first))
            on_round(self.env_steps, self._learn(1.0 - self.env_steps / total))

    @torch.no_grad()
    def _remember(self, frames: dict[str, Tensor], first: Tensor) -> None:
        """Have frames ``(T, N, size)`` labelled and keep them."""
        shape = first.shape
        labels = self._teachers.labels(frames[self._teachers.group].flatten(0, 1))
        if isinstance(self._teachers, TaskTeachers):
            self._stay(frames[POLICY].flatten(0, 1), labels)
        kept = {group: frames[group] for group in (POLICY, CRITIC) if group in frames}
        self.memory.extend({**kept, _LABELS: labels.unflatten(0, shape)}, first)

    def _stay(self, frames: Tensor, labels: Tensor) -> None:
        """Where nobody teaches, label with what the student did before."""
        own = labels[:, -1] == 0
        before = self._before.act(self._before.normalize({POLICY: frames[own]})[POLICY])
        labels[own] = torch.nn.functional.pad(before, (0, 1), value=1.0)

    def _learn(self, rate: float) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = self.experiment.algorithm.learning_rate * max(0.0, rate)
        sums: dict[str, float] = {}
        for _ in range(_MINIBATCHES):
            batch = self.memory.draw(_MINIBATCH_SIZE, self._generator)
            normalized = self.module.normalize(batch)
            with torch.autocast("cpu", torch.bfloat16):
                out = self.module.outputs(normalized[POLICY])
            dist = self.module.action_dist_cls.from_logits(out[Columns.ACTION_DIST_INPUTS])
            loss = self._teachers.loss(dist, batch[_LABELS])
            metrics = {"loss": loss.detach()}
            if self.module.predicts:
                own = self.module.auxiliary(normalized, out)
                loss = loss + sum(own.losses.values())
                metrics |= own.metrics
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return {name: value / _MINIBATCHES for name, value in sums.items()}

    def save(self, folder: Path) -> None:
        """Write the student's bundle. Its critic is still that of the start."""
        save_bundle(
            folder,
            self.module,
            self.experiment,
            describe_env(self._own_env),
            env_steps=self._steps_before + self.env_steps,
            git_commit=git_commit(),
        )
