"""What every task promises to an algorithm: shapes, finite numbers, equal runs for equal seeds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stridelab_envs.batch_env import BatchEnv, Observation, Step
from stridelab_envs.check.report import Findings, error, warning
from stridelab_envs.tasks.config import TaskConfig

_STEPS = 20
"""Control steps of each comparison."""


@dataclass(frozen=True)
class Maker:
    """Builds environments of one task, alike but for the seed."""

    task: TaskConfig
    num_envs: int
    num_threads: int

    def __call__(self, seed: int) -> BatchEnv:
        """Build environments with a seed."""
        return BatchEnv(self.task, num_envs=self.num_envs, seed=seed, num_threads=self.num_threads)


def random_actions(env: BatchEnv, generator: torch.Generator) -> Tensor:
    """Draw what an untrained policy does: standard normal, clipped, ``(num_envs, action_dim)``."""
    draw = torch.randn(env.num_envs, env.action_dim, generator=generator)
    return draw.clamp(-env.task.action_clip, env.task.action_clip)


def check_contract(make: Maker, seed: int) -> Findings:
    """Check shapes and types, that a seed repeats a run, and that a saved state goes on alike."""
    env = make(seed)
    first = env.reset()
    generator = torch.Generator().manual_seed(seed)
    actions = [random_actions(env, generator) for _ in range(_STEPS)]
    yield from _shapes(env, first, env.step(actions[0]))

    env, twin, other = make(seed), make(seed), make(seed + 1)
    start, elsewhere = env.reset(), other.reset()
    if not _equal_observations(start, twin.reset()):
        yield error("determinism", "equal seeds give different first observations")
    elif (at := _first_difference(env, twin, actions)) is not None:
        yield error("determinism", f"equal seeds give different steps from step {at} on")
    if make.task.randomization and _equal_observations(start, elsewhere):
        yield warning("determinism", "other seeds give the same first observations")
    other.set_state(env.get_state())
    at = _first_difference(env, other, actions)
    if at is not None:
        yield error("saved state", f"a restored environment differs from step {at} on")


def _shapes(env: BatchEnv, first: Observation, step: Step) -> Findings:
    count = env.num_envs
    for when, obs in (("reset", first), ("step", step.obs), ("final_obs", step.final_obs)):
        for group, size in env.observation_sizes.items():
            value = obs.get(group)
            if value is None:
                yield error(f"observation {group}", f"is missing in {when}")
            elif value.shape != (count, size) or value.dtype != torch.float32:
                yield error(
                    f"observation {group}",
                    f"must be float32 {(count, size)} in {when}, got {value.dtype} "
                    f"{tuple(value.shape)}",
                )
    for name, dtype in (
        ("reward", torch.float32),
        ("terminated", torch.bool),
        ("truncated", torch.bool),
    ):
        value = getattr(step, name)
        if value.shape != (count,) or value.dtype != dtype:
            yield error(name, f"must be {dtype} {(count,)}, got {value.dtype} {tuple(value.shape)}")


def _first_difference(first: BatchEnv, second: BatchEnv, actions: list[Tensor]) -> int | None:
    """Step both with the same actions; return the number of the first step that differs."""
    for t, action in enumerate(actions, start=1):
        one, two = first.step(action), second.step(action)
        same = (
            torch.equal(one.reward, two.reward)
            and torch.equal(one.terminated, two.terminated)
            and torch.equal(one.truncated, two.truncated)
            and _equal_observations(one.obs, two.obs)
            and _equal_observations(one.final_obs, two.final_obs)
        )
        if not same:
            return t
    return None


def _equal_observations(first: Observation, second: Observation) -> bool:
    return all(torch.equal(value, second[group]) for group, value in first.items())
