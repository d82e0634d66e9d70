"""What other settings of the physics would cost and save: error against the reference, and speed.

A policy plays; from states it comes by, what it did next is repeated under each choice. Errors are
small differences that grow with time, so each piece is short and begins where the policy was.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import mujoco
import torch
from rich.table import Table
from torch import Tensor

from stridelab.evaluation.rollout import Act
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.physics import Simulation
from stridelab_envs.registry import make_env
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.profiles import INTEGRATORS, control_profiles

PIECE_S = 0.2
"""Length of a piece [s]: about the time that a foot is on its way."""
PIECES = 5
SETTLE_S = 3.0
"""Time before the first piece, and between two [s]."""
SHIPPED, REFERENCE = "as shipped", "1 ms, euler (reference)"
_FREE_JOINT = 7
"""Entries of ``qpos`` that place the base."""


@dataclass(frozen=True)
class Piece:
    """What one stretch began with and what was done in it."""

    qpos: Tensor
    qvel: Tensor
    targets: Tensor
    """Actuator inputs, ``(steps, num_envs, nu)``."""


@dataclass(frozen=True)
class Score:
    """What one choice came to."""

    joint_error: float
    """Root mean square over joints, robots and pieces, at a piece's end, to the reference [rad]."""
    base_error: float
    """Median distance of the base from where it is under the reference [m]."""
    speed: float
    """Control steps a second over those of the shipped settings, median of the rounds."""


def _option(model: mujoco.MjModel, **values: Any) -> None:
    for name, value in values.items():
        setattr(model.opt, name, value)


def _feet_only(model: mujoco.MjModel) -> None:
    """Let only spheres touch anything: the corners of soles."""
    others = model.geom_type != mujoco.mjtGeom.mjGEOM_SPHERE
    others &= model.geom_bodyid != 0  # not the floor
    model.geom_contype[others] = model.geom_conaffinity[others] = 0
    model.pair_margin[:] = -1.0


def choices() -> dict[str, Callable[[mujoco.MjModel], None]]:
    """Return what is compared, by name; each changes a model."""
    euler = INTEGRATORS["euler"]
    return {
        SHIPPED: lambda model: None,
        REFERENCE: partial(
            _option, timestep=control_profiles(0.02)["reference"].timestep, integrator=euler
        ),
        "0.5 ms, euler": partial(_option, timestep=0.0005, integrator=euler),
        "2.5 ms": partial(_option, timestep=0.0025),
        "10 ms": partial(_option, timestep=0.01),
        "euler": partial(_option, integrator=euler),
        "2 solver iterations": partial(_option, iterations=2),
        "100 solver iterations": partial(_option, iterations=100, ls_iterations=50),
        "3 line search iterations": partial(_option, ls_iterations=3),
        "CG solver": partial(_option, solver=mujoco.mjtSolver.mjSOL_CG),
        "elliptic cone": partial(_option, cone=mujoco.mjtCone.mjCONE_ELLIPTIC),
        "only soles touch": _feet_only,
    }


@torch.no_grad()
def record(controller: Callable[[BatchEnv], Act], task: TaskConfig, num_envs: int) -> list[Piece]:
    """Let a policy play on robots that are all alike, and note some pieces."""
    env = make_env(replace(task.for_evaluation(), randomization={}), num_envs=num_envs, seed=0)
    act, obs = controller(env), env.reset()
    steps, settle = (round(seconds / env.sim.control_dt) for seconds in (PIECE_S, SETTLE_S))
    pieces = []
    for _ in range(PIECES):
        for _ in range(settle):
            obs = env.step(act(obs)).obs
        qpos, qvel, targets = env.sim.qpos.clone(), env.sim.qvel.clone(), []
        for _ in range(steps):
            obs = env.step(act(obs)).obs
            targets.append(env.sim.ctrl.clone())
        pieces.append(Piece(qpos, qvel, torch.stack(targets)))
    return pieces


class Replay:
    """Pieces repeated under one choice.

    Args:
        task: Gives model and control period.
        change: The choice.
        num_envs: Robots in a piece.
        num_threads: Physics threads.
    """

    def __init__(
        self,
        task: TaskConfig,
        change: Callable[[mujoco.MjModel], None],
        num_envs: int,
        num_threads: int,
    ) -> None:
        model = copy.deepcopy(make_env(task, num_envs=1, seed=0, num_threads=1).sim.model)
        change(model)
        decimation = round(task.control_dt / model.opt.timestep)
        self.sim = Simulation(model, num_envs, decimation=decimation, num_threads=num_threads)

    def run(self, pieces: list[Piece]) -> tuple[list[Tensor], float]:
        """Return each piece's last ``qpos (num_envs, nq)``, and the seconds that stepping took."""
        ends, seconds = [], 0.0
        everyone = torch.arange(self.sim.num_envs)
        for piece in pieces:
            self.sim.reset(everyone)
            self.sim.qpos.copy_(piece.qpos)
            self.sim.qvel.copy_(piece.qvel)
            self.sim.forward(everyone)
            start = time.perf_counter()
            for targets in piece.targets:
                self.sim.step(targets)
            seconds += time.perf_counter() - start
            ends.append(self.sim.qpos.clone())
        return ends, seconds


def compare_choices(
    controller: Callable[[BatchEnv], Act],
    task: TaskConfig,
    *,
    num_envs: int,
    num_threads: int,
    rounds: int,
    on_progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Score]:
    """Play, repeat under every choice in turns, and compare.

    Choices whose time step does not divide the control period are left out.

    Args:
        controller: Returns what acts in given environments.
        task: The policy's task.
        num_envs: Robots.
        num_threads: Physics threads.
        rounds: Times that every choice is measured.
        on_progress: Called with the name of what begins.
    """
    on_progress("playing")
    pieces = record(controller, task, num_envs)
    replays = {name: Replay(task, change, num_envs, num_threads) for name, change in _fit(task)}
    ends: dict[str, list[Tensor]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in replays}
    for _ in range(rounds):
        for name, replay in replays.items():
            on_progress(name)
            ends[name], taken = replay.run(pieces)
            seconds[name].append(taken)
    base = seconds[SHIPPED]
    return {
        name: Score(
            *_errors(ends[name], ends[REFERENCE]),
            speed=median(one / other for one, other in zip(base, taken, strict=True)),
        )
        for name, taken in seconds.items()
    }


def _fit(task: TaskConfig) -> list[tuple[str, Callable[[mujoco.MjModel], None]]]:
    """Return the choices that the task's control period allows."""
    model = make_env(task, num_envs=1, seed=0, num_threads=1).sim.model
    fitting = []
    for name, change in choices().items():
        changed = copy.deepcopy(model)
        change(changed)
        ratio = task.control_dt / changed.opt.timestep
        if abs(ratio - round(ratio)) < 1e-6:
            fitting.append((name, change))
    return fitting


def _errors(ends: list[Tensor], reference: list[Tensor]) -> tuple[float, float]:
    """Return joint and base error of last states against those of the reference."""
    difference = torch.stack(ends) - torch.stack(reference)
    joints = float(difference[..., _FREE_JOINT:].square().mean().sqrt())
    return joints, float(difference[..., :3].norm(dim=-1).median())


def table(scores: dict[str, Score], title: str) -> Table:
    """Return the scores as a table for people."""
    result = Table("choice", "joint error [mrad]", "base error [mm]", "speed", title=title)
    for name, score in scores.items():
        result.add_row(
            name,
            f"{1e3 * score.joint_error:.1f}",
            f"{1e3 * score.base_error:.1f}",
            f"{score.speed:.2f}",
        )
    return result
