"""Skills taking turns on one robot: does each accept control from any other one's state?"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stridelab.evaluation.files import replacing
from stridelab.skills.skill import SkillSet
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.registry import make_env

TURN = 2.0
"""Time [s] for which a skill has control."""


@dataclass
class ChainResult:
    """What happened while the skills took turns."""

    minutes: float
    """Simulated time of all environments together [min]."""
    falls: int
    handovers: dict[str, dict[str, int]] = field(default_factory=dict)
    """Falls by the skill that fell, then by the skill it had taken over from."""

    @property
    def falls_per_minute(self) -> float:
        """Falls in a minute of one robot [1/min]."""
        return self.falls / self.minutes


class Recorder:
    """Keeps the states in which a skill hands over, by skill, but not those of a fall under way.

    Args:
        skills: Number of skills.
        survive: Control steps a robot must still stand after a state for it to be kept.
    """

    def __init__(self, skills: int, *, survive: int = 15) -> None:
        self._survive = survive
        self._waiting: deque[tuple[Tensor, Tensor, Tensor]] = deque()
        self._kept: list[list[Tensor]] = [[] for _ in range(skills)]

    def take(self, env: BatchEnv, active: Tensor, handing_over: Tensor, fell: Tensor) -> None:
        """Look at the environments after a control step.

        Args:
            env: Holds their states.
            active: The skill that had control, ``(num_envs,)``.
            handing_over: Whether it was the last step of its turn, ``(num_envs,)`` bool.
            fell: Whether the robot has fallen, ``(num_envs,)`` bool.
        """
        for _, _, standing in self._waiting:
            standing &= ~fell
        qpos = env.sim.qpos.clone()
        base = env.state.base_slices[0].start
        qpos[:, base : base + 2] = 0.0
        times = env.state.gait_time[:, None]
        states = torch.cat([qpos, env.sim.qvel, env.state.action, times], dim=1)
        self._waiting.append((states, active.clone(), handing_over & ~fell))
        if len(self._waiting) > self._survive:
            states, skill, standing = self._waiting.popleft()
            for index, kept in enumerate(self._kept):
                kept.append(states[(skill == index) & standing])

    def write(self, path: Path, env: BatchEnv, count: int, seed: int) -> None:
        """Write ``count`` states of each skill.

        ``qpos``, ``qvel``, ``action``, ``gait_time`` are float32, ``skill`` numbers the skill.
        ``action`` is the one just executed, which the robot still holds when it is taken over;
        ``gait_time`` is what the gait clock shows then [s].
        """
        generator = torch.Generator().manual_seed(seed)
        rows, labels = [], []
        for index, kept in enumerate(self._kept):
            states = torch.cat(kept)
            order = torch.randperm(states.shape[0], generator=generator)[:count]
            rows.append(states[order])
            labels += [index] * order.numel()
        array = torch.cat(rows).float().numpy()
        nq, nv = env.sim.qpos.shape[1], env.sim.qvel.shape[1]
        with replacing(path) as scratch, scratch.open("wb") as stream:
            np.savez_compressed(
                stream,
                qpos=array[:, :nq],
                qvel=array[:, nq : nq + nv],
                action=array[:, nq + nv : -1],
                gait_time=array[:, -1],
                skill=np.array(labels, dtype=np.int8),
            )


@torch.no_grad()
def chain(
    skills: SkillSet,
    *,
    episodes: int,
    seconds: float,
    seed: int,
    recorder: Recorder | None = None,
) -> tuple[ChainResult, BatchEnv]:
    """Let the skills take turns in ``episodes`` environments for ``seconds`` each.

    Each environment begins with a random skill and goes on to the next one whenever its commands
    are drawn anew. A robot that falls stands up again at once, with the same skill.
    """
    task = skills.task(turn=TURN, episode_length_s=seconds)
    env = make_env(task, num_envs=episodes, seed=seed)
    for skill in skills.skills:
        skill.check_fits(env)
    count = len(skills.skills)
    generator = torch.Generator().manual_seed(seed)
    active = torch.randint(count, (episodes,), generator=generator)
    before = torch.full((episodes,), count)
    falls = torch.zeros(count, count + 1, dtype=torch.long)
    obs = env.reset()
    steps = round(seconds / env.control_dt)
    first_command = next(iter(env.state.commands.values()))
    for _ in range(steps):
        action = torch.zeros(episodes, env.action_dim)
        for index, skill in enumerate(skills.skills):
            chosen = skill.policy.act({"policy": obs[skill.name]})
            action = torch.where((active == index)[:, None], chosen, action)
        last_of_turn = first_command.time_left < 1.5 * env.control_dt
        step = env.step(action)
        falls.index_put_(
            (active[step.terminated], before[step.terminated]), torch.tensor(1), accumulate=True
        )
        handing_over = last_of_turn & ~step.terminated
        if recorder is not None:
            recorder.take(env, active, handing_over, step.terminated | step.truncated)
        before = torch.where(handing_over, active, before.masked_fill(step.terminated, count))
        active = torch.where(handing_over, (active + 1) % count, active)
        obs = step.obs
    names = [skill.name for skill in skills.skills]
    result = ChainResult(
        minutes=episodes * steps * env.control_dt / 60.0,
        falls=int(falls.sum()),
        handovers={
            name: {
                other: int(falls[i, j])
                for j, other in enumerate([*names, "standing"])
                if int(falls[i, j])
            }
            for i, name in enumerate(names)
        },
    )
    return result, env
