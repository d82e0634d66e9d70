"""Contenders that step without learning: bare MuJoCo, ``Simulation``, ``BatchEnv``."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
from mujoco.batch import Batch
from torch import Tensor

from stridelab.bench.contender import Contender
from stridelab.bench.workload import bench_env, random_actions
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.physics import Simulation

_STAGE_VEL = int(mujoco.mjtStage.mjSTAGE_VEL)
_STAGE_NONE = int(mujoco.mjtStage.mjSTAGE_NONE)


def _targets(env: BatchEnv, steps: int) -> Tensor:
    """Joint targets [rad] that ``env`` makes of the random actions, float32."""
    clip = env.task.action_clip
    actions = random_actions(env, steps).clamp(-clip, clip)
    return env.state.default_pose + env.action_scale * actions


def _standing(env: BatchEnv) -> tuple[Tensor, Tensor]:
    """First state of an episode of the workload, which starts all alike: ``qpos``, ``qvel``."""
    env.reset()
    return env.sim.qpos.clone(), env.sim.qvel.clone()


class _Steps(Contender):
    """A simulation of its own, apart from the environment's, put back to standing each round."""

    def __init__(self, num_envs: int, num_threads: int, steps: int) -> None:
        env = bench_env(num_envs, num_threads)
        self.targets = _targets(env, steps)
        self.start = _standing(env)
        self.decimation = env.task.decimation
        self.env_steps = steps * num_envs
        self.sim = Simulation(
            env.sim.model, num_envs, decimation=self.decimation, num_threads=num_threads
        )

    def prepare(self) -> None:
        """Stand up."""
        self.sim.batch.reset(stage=_STAGE_NONE)
        self.sim.qpos.copy_(self.start[0])
        self.sim.qvel.copy_(self.start[1])
        self.sim.batch.forward(stage=_STAGE_VEL)


class SimulationSteps(_Steps):
    """``Simulation.step`` with given controls; nobody is reset."""

    def run(self) -> int:
        """Step through the controls."""
        for targets in self.targets:
            self.sim.step(targets)
        return self.env_steps


class BareBatch(_Steps):
    """A loop over ``mujoco.batch.Batch.step``, with nothing of ours around it.

    Args:
        num_envs: Number of simulations.
        num_threads: Physics threads.
        steps: Control steps of a round.
        current: Bring derived fields to the new state after each step, as ``Simulation`` does;
            without it they lag one physics step behind.
    """

    def __init__(self, num_envs: int, num_threads: int, steps: int, current: bool) -> None:
        super().__init__(num_envs, num_threads, steps)
        self.stage = _STAGE_VEL if current else _STAGE_NONE
        self.controls = self.targets.double().numpy()

    def run(self) -> int:
        """Step through the controls."""
        batch: Batch = self.sim.batch
        ctrl = batch.bind("ctrl")
        for controls in self.controls:
            ctrl[:] = controls
            batch.step(nstep=self.decimation, stage=self.stage)
        return self.env_steps


class EnvSteps(Contender):
    """``BatchEnv.step`` with random actions; fallen robots start again."""

    def __init__(self, num_envs: int, num_threads: int, steps: int) -> None:
        self.env = bench_env(num_envs, num_threads)
        self.actions = random_actions(self.env, steps)

    def prepare(self) -> None:
        """Start new episodes everywhere."""
        self.env.reset()

    def run(self) -> int:
        """Step through the actions."""
        for actions in self.actions:
            self.env.step(actions)
        return self.actions.shape[0] * self.env.num_envs


@dataclass
class _Restart:
    """Environments that started anew after a step, and the state they started from."""

    ids: Tensor
    qpos: Tensor
    qvel: Tensor


class PhysicsReplay(_Steps):
    """The physics of :class:`EnvSteps` alone: same controls, same restarts at the same steps."""

    def __init__(self, num_envs: int, num_threads: int, steps: int) -> None:
        super().__init__(num_envs, num_threads, steps)
        self.restarts = self._record(bench_env(num_envs, num_threads), steps)

    def _record(self, env: BatchEnv, steps: int) -> list[_Restart]:
        env.reset()
        restarts = []
        for actions in random_actions(env, steps):
            step = env.step(actions)
            ids = (step.terminated | step.truncated).nonzero().flatten()
            restarts.append(_Restart(ids, env.sim.qpos[ids], env.sim.qvel[ids]))
        return restarts

    def run(self) -> int:
        """Step through the controls and restart whom the environment restarted."""
        sim = self.sim
        for targets, restart in zip(self.targets, self.restarts, strict=True):
            sim.step(targets)
            if restart.ids.numel():
                sim.reset(restart.ids)
                sim.qpos[restart.ids] = restart.qpos
                sim.qvel[restart.ids] = restart.qvel
                sim.forward(restart.ids)
        return self.env_steps
