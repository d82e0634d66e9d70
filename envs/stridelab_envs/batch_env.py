"""``BatchEnv``: the one place where a control step is put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mujoco
import torch
from torch import Tensor

from stridelab_envs.errors import ConfigError
from stridelab_envs.history import FrameStack
from stridelab_envs.mdp.commands import ExternalCommand
from stridelab_envs.mdp.state import State
from stridelab_envs.mdp.terms import ObservationTerm, RandomizationTerm
from stridelab_envs.physics import Simulation
from stridelab_envs.robots import RobotSpec, get_robot
from stridelab_envs.robots.objects import add_contact_sensors, add_objects
from stridelab_envs.robots.scene import build_scene
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.terrain import Terrain
from stridelab_envs.threads import one_thread

Observation = dict[str, Tensor]
"""Group name to ``(num_envs, group size)``; of a group with a history the stack of its frames,
oldest first, or the newest frame alone if the environments were built so."""


@dataclass(frozen=True)
class Step:
    """What one control step returns; every tensor leads with ``num_envs``."""

    obs: Observation
    """Observation to act on next: of the new episode where one has just ended."""
    reward: Tensor
    """Reward of the step, ``(num_envs,)``."""
    terminated: Tensor
    """The episode ended in failure: nothing comes after, ``(num_envs,)`` bool."""
    truncated: Tensor
    """The episode ran into its time limit: bootstrap from ``final_obs``, ``(num_envs,)`` bool."""
    final_obs: Observation
    """Observation of the state the step led to, before any restart."""
    log: dict[str, Tensor]
    """One value for each episode that ended, ``(num_ended,)``: ``episode/return``,
    ``episode/length`` [steps], ``episode/fell`` (0 or 1), ``reward/<term>`` (weighted, mean per
    second or per step) and ``metric/<name>`` (mean over the episode or last value; NaN where it was
    never measured)."""


class BatchEnv:
    """``num_envs`` environments of one task, stepped together; an ended one restarts at once.

    Args:
        task: The task.
        num_envs: Number of environments.
        seed: Seed of every random draw; equal seeds give equal rollouts.
        num_threads: Physics threads; 0 takes every core this process may use.
        dump_dir: Where the state of the first failed simulation is written.
        stack_history: Observe the whole stack of frames in groups with a history; otherwise only
            the newest frame, for callers that keep the frames themselves.
    """

    def __init__(
        self,
        task: TaskConfig,
        *,
        num_envs: int,
        seed: int,
        num_threads: int = 0,
        dump_dir: Path | None = None,
        stack_history: bool = True,
    ) -> None:
        if num_envs < 1:
            raise ConfigError("num_envs", f"must be at least 1, got {num_envs}")
        self.task = task
        self.num_envs = num_envs
        self.robot = get_robot(task.robot)
        self.control_dt = task.control_dt
        self.max_episode_steps = task.max_episode_steps
        terrain = Terrain(task.terrain) if task.terrain.kind != "flat" else None
        model = _build_model(task, self.robot, terrain)
        self.sim = Simulation(
            model,
            num_envs,
            decimation=task.decimation,
            num_threads=num_threads,
            dump_dir=dump_dir,
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.state = State(
            self.sim,
            self.robot,
            self.generator,
            objects=task.objects,
            max_episode_steps=task.max_episode_steps,
            contact_threshold=task.contact_threshold,
            terrain=terrain,
            min_stance_time=task.min_stance_time,
            min_switch_interval=task.min_switch_interval,
        )
        self.action_dim = self.robot.num_joints
        self.action_scale = _per_joint_scale(task, self.robot)
        self._all = torch.arange(num_envs)
        self._set_rewards()
        self._metrics = list(task.metrics)
        self._reward_sums = torch.zeros(len(self._rewards), num_envs)
        self._metric_sums = torch.zeros(len(self._metrics), num_envs)
        self._metric_counts = torch.zeros(len(self._metrics), num_envs)
        self._at_start, self._repeated = _split(task.randomization)
        self._time_to_change = torch.zeros(len(self._repeated), num_envs)
        self._applied_action = torch.zeros(num_envs, self.action_dim)
        self.state.commands.update(
            (name, term.func(self.state, **term.params)) for name, term in task.commands.items()
        )
        self._return = torch.zeros(num_envs)
        # Counted apart from the episode clock, which desynchronize() moves.
        self._steps = torch.zeros(num_envs)
        self._restart(self._all)
        self.layouts = {group: self._layout(group) for group in task.observations}
        """Where each term lies in a frame of its group: group to term to columns."""
        self.history = {group: task.history.get(group, 1) for group in task.observations}
        """Number of frames that make up an observation of a group."""
        self.frame_sizes = {
            group: max(columns.stop for columns in layout.values())
            for group, layout in self.layouts.items()
        }
        """Group name to width of one frame."""
        self.observation_sizes = {
            group: self.history[group] * size for group, size in self.frame_sizes.items()
        }
        """Group name to width of what a policy sees: all frames."""
        self._stack = FrameStack(task.history if stack_history else {})

    def _set_rewards(self) -> None:
        """Take over the task's rewards; terms of weight 0 are not computed."""
        self._rewards = {name: term for name, term in self.task.rewards.items() if term.weight}
        self._weights = torch.tensor([[term.weight] for term in self._rewards.values()])
        self._reward_values = torch.zeros(len(self._rewards), self.num_envs)
        self._reward_dt = 1.0 if self.task.rewards_per_step else self.control_dt

    def seed(self, seed: int) -> None:
        """Start the random draws afresh; what has been drawn already stays."""
        self.generator.manual_seed(seed)

    @one_thread()
    def reset(self) -> Observation:
        """Start a new episode everywhere and return its first observation."""
        self._restart(self._all)
        return self._stack.restart(self._all, self._observe())

    def desynchronize(self) -> None:
        """Pretend that the running episodes started at random times.

        Called once before training, so that time limits do not strike everywhere at once.
        """
        self.state.episode_step.random_(self.max_episode_steps, generator=self.generator)

    @one_thread()
    def step(self, actions: Tensor) -> Step:
        """Execute one control step.

        Args:
            actions: Joint targets in units of ``action_scale`` around the default pose,
                ``(num_envs, action_dim)``; clipped to ``task.action_clip``.

        Raises:
            ValueError: If ``actions`` has another shape.
        """
        if actions.shape != (self.num_envs, self.action_dim):
            expected = (self.num_envs, self.action_dim)
            raise ValueError(f"actions must have shape {expected}, got {tuple(actions.shape)}")
        state, clip = self.state, self.task.action_clip
        self._change_within_episode()
        state.begin_step(actions.to(torch.float32).clamp(-clip, clip))
        failed = self.sim.step(state.default_pose + self.action_scale * self._delayed_action())
        state.end_step()
        for command in state.commands.values():
            command.tick(state)

        terminated = self._terminations()
        if failed.numel():
            terminated[failed] = True
        truncated = (state.episode_step >= self.max_episode_steps) & ~terminated
        reward = self._reward(failed)
        state.terminated, state.reward = terminated, reward
        self._measure()
        self._steps += 1.0
        for command in state.commands.values():
            command.advance(state)

        frames = self._observe()
        final_obs = self._stack.push(frames)
        ended = (terminated | truncated).nonzero().flatten()
        log: dict[str, Tensor] = {}
        obs = final_obs
        if ended.numel():
            log = self._episode_log(ended, terminated)
            self._restart(ended)
            fresh = self._observe()
            frames = {
                group: value.index_copy(0, ended, fresh[group][ended])
                for group, value in frames.items()
            }
            obs = self._stack.restart(ended, frames)
        return Step(obs, reward, terminated, truncated, final_obs, log)

    def tell(self, command: str, ids: Tensor, value: Tensor) -> None:
        """Let environments ``ids (k,)`` know a command given below them, ``value (k, width)``.

        Only commands of the kind :class:`ExternalCommand` are told; others are drawn.
        """
        told = self.state.commands.get(command)
        if isinstance(told, ExternalCommand):
            told.value[ids] = value

    @property
    def reward_terms(self) -> dict[str, Tensor]:
        """Each term in the step just made: weighted, per second or per step, ``(num_envs,)``."""
        return dict(zip(self._rewards, self._reward_values, strict=True))

    def get_state(self) -> dict[str, Any]:
        """Return everything that decides how the environments go on, random draws included."""
        return {
            "simulation": self.sim.get_state(),
            "state": self.state.get_state(),
            "generator": self.generator.get_state(),
            "rewards": {name: row.clone() for name, row in self._rows_of_rewards()},
            "sums": [value.clone() for value in self._sums()],
            "commands": {name: c.get_state() for name, c in self.state.commands.items()},
            "stack": self._stack.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` returned.

        ``num_envs`` and the task must be equal but for the weights of rewards; a term that was off
        then counts from here.
        """
        self.sim.set_state(state["simulation"])
        self.state.set_state(state["state"])
        self.generator.set_state(state["generator"])
        self._stack.set_state(state["stack"])
        for name, row in self._rows_of_rewards():
            row.copy_(state["rewards"].get(name, torch.zeros(())))
        for own, value in zip(self._sums(), state["sums"], strict=True):
            own.copy_(value)
        for name, command in self.state.commands.items():
            command.set_state(state["commands"][name])

    def get_curriculum(self) -> dict[str, float]:
        """Return how far each command's curriculum has come, 0 to 1; it outlives environments."""
        return {name: command.progress for name, command in self.state.commands.items()}

    def set_curriculum(self, progress: Mapping[str, float]) -> None:
        """Take over how far curricula had come elsewhere."""
        for name, command in self.state.commands.items():
            if name in progress:
                command.set_progress(progress[name])

    def _rows_of_rewards(self) -> Iterator[tuple[str, Tensor]]:
        return zip(self._rewards, self._reward_sums, strict=True)

    def _sums(self) -> tuple[Tensor, ...]:
        """Return what else is kept of the running episodes."""
        return (
            self._metric_sums,
            self._metric_counts,
            self._return,
            self._steps,
            self._time_to_change,
            self._applied_action,
        )

    def _change_within_episode(self) -> None:
        """Randomise where the time for it has come, before physics moves on."""
        for row, term in enumerate(self._repeated):
            left = self._time_to_change[row]
            left -= self.control_dt
            # Half a step is far more than what rounding adds up to.
            ids = (left < 0.5 * self.control_dt).nonzero().flatten()
            if ids.numel():
                term.func(self.state, ids, **term.params)
                self._draw_time_to_change(row, term, ids)
        if self.state.push.advance():
            self.state.velocity_written()

    def _draw_time_to_change(self, row: int, term: RandomizationTerm, ids: Tensor) -> None:
        assert term.interval_s is not None
        low, high = term.interval_s
        draw = torch.rand(ids.numel(), generator=self.generator)
        self._time_to_change[row, ids] = low + (high - low) * draw

    def _delayed_action(self) -> Tensor:
        """Return what the actuators get: the action, mixed with what they got before."""
        action, delay, noise = self.state.action, self.task.action_delay, self.task.action_noise
        if delay:
            share = delay * torch.rand(self.num_envs, 1, generator=self.generator)
            action = action + (self._applied_action - action) * share
        if noise:
            draw = torch.randn(action.shape, generator=self.generator)
            action = action * (1.0 + noise * draw)
        self._applied_action.copy_(action)
        return action

    def _terminations(self) -> Tensor:
        terminated = torch.zeros(self.num_envs, dtype=torch.bool)
        for term in self.task.terminations.values():
            terminated |= term.func(self.state, **term.params)
        return terminated

    def _reward(self, failed: Tensor) -> Tensor:
        """Weighted sum of the terms, times the period of their rate; zero where physics failed."""
        values = []
        for term in self._rewards.values():
            value = term.func(self.state, **term.params)
            values.append(value if term.clip is None else value.clamp(*term.clip))
        if not values:
            return torch.zeros(self.num_envs)
        weighted = torch.stack(values) * self._weights
        if failed.numel():
            weighted[:, failed] = 0.0
        self._reward_sums += weighted
        self._reward_values = weighted
        reward = weighted.sum(dim=0) * self._reward_dt
        if self.task.only_positive_rewards:
            reward = reward.clamp(min=0.0)
        self._return += reward
        return reward

    def _measure(self) -> None:
        for row, name in enumerate(self._metrics):
            term = self.task.metrics[name]
            value = term.func(self.state, **term.params)
            measured = ~value.isnan()
            if term.over_episode != "mean":
                self._metric_counts[row, measured] = 0.0
            if term.over_episode == "last":
                self._metric_sums[row, measured] = 0.0
            self._metric_sums[row] += value.masked_fill(~measured, 0.0)
            self._metric_counts[row] += measured

    def _episode_log(self, ids: Tensor, terminated: Tensor) -> dict[str, Tensor]:
        steps = self._steps[ids]
        log = {
            "episode/return": self._return[ids],
            "episode/length": steps,
            "episode/fell": terminated[ids].float(),
        }
        rewards = self._reward_sums[:, ids] / steps
        log |= {f"reward/{name}": rewards[row] for row, name in enumerate(self._rewards)}
        metrics = self._metric_sums[:, ids] / self._metric_counts[:, ids]
        log |= {f"metric/{name}": metrics[row] for row, name in enumerate(self._metrics)}
        return log

    def _restart(self, ids: Tensor) -> None:
        """Put environments ``ids (k,)`` into the robot's standing pose and randomise."""
        sim, state, robot = self.sim, self.state, self.robot
        sim.reset(ids)
        base = state.base_slices[0].start
        sim.qpos[ids, base + 2] = robot.home_height
        sim.qpos[ids, state.joint_slices[0]] = state.default_pose.double()
        state.forget(ids)
        for term in self._at_start:
            term.func(state, ids, **term.params)
        for row, term in enumerate(self._repeated):
            self._draw_time_to_change(row, term, ids)
        if state.terrain is not None:
            start = sim.qpos[ids, base : base + 2] + state.terrain.draw(len(ids), self.generator)
            sim.qpos[ids, base : base + 2] = start
            sim.qpos[ids, base + 2] += state.terrain.highest(start)
        state.lags.reset(ids)
        for command in state.commands.values():
            command.prepare(state, ids)
        sim.forward(ids)
        state.reset(ids)
        for command in state.commands.values():
            command.reset(state, ids)
        self._applied_action[ids] = state.action[ids]
        self._reward_sums[:, ids] = 0.0
        self._metric_sums[:, ids] = 0.0
        self._metric_counts[:, ids] = 0.0
        self._return[ids] = 0.0
        self._steps[ids] = 0.0

    def _observe(self) -> Observation:
        return {
            group: torch.cat([self._term(term) for term in terms.values()], dim=1)
            for group, terms in self.task.observations.items()
        }

    def _term(self, term: ObservationTerm) -> Tensor:
        value = term.func(self.state, **term.params)
        if term.noise:
            draw = torch.rand(value.shape, generator=self.generator)
            value = value + (2.0 * draw - 1.0) * term.noise
        return value if term.scale == 1.0 else value * term.scale

    def _layout(self, group: str) -> dict[str, slice]:
        layout: dict[str, slice] = {}
        start = 0
        for name, term in self.task.observations[group].items():
            width = term.func(self.state, **term.params).shape[1]
            layout[name] = slice(start, start + width)
            start += width
        return layout


def _split(
    table: Mapping[str, RandomizationTerm],
) -> tuple[list[RandomizationTerm], list[RandomizationTerm]]:
    """Part the changes made when an episode starts from those repeated within it."""
    terms = list(table.values())
    at_start = [term for term in terms if term.interval_s is None]
    return at_start, [term for term in terms if term.interval_s is not None]


def _build_model(task: TaskConfig, robot: RobotSpec, terrain: Terrain | None) -> mujoco.MjModel:
    """Compile the task's scene, with what its random changes need in it."""
    additions = [
        partial(term.prepare, robot=robot, timestep=task.timestep, **term.params)
        for term in task.randomization.values()
        if term.prepare is not None
    ]
    additions.append(partial(add_objects, names=task.objects))
    additions.append(partial(add_contact_sensors, bodies=task.contact_bodies))
    model = build_scene(robot.mjcf, terrain=terrain, additions=additions)
    task.set_physics(model)
    return model


def _per_joint_scale(task: TaskConfig, robot: RobotSpec) -> Tensor:
    """Joint offset per unit of action [rad], ``(num_joints,)``."""
    if isinstance(task.action_scale, Mapping):
        return torch.tensor(robot.per_joint(task.action_scale, "action_scale"))
    return torch.full((robot.num_joints,), float(task.action_scale))
