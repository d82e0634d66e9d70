"""The one workload that everything is measured on: a humanoid learning to walk forward."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stridelab.experiment import AlgorithmSection, Experiment, ModelSection
from stridelab.experiment.schema import validate
from stridelab_envs import registry
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.mdp import observations as obs
from stridelab_envs.mdp import rewards, terminations
from stridelab_envs.mdp.state import State
from stridelab_envs.mdp.terms import ObservationTerm, RewardTerm, StateTerm
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks.config import TaskConfig

TASK_ID = "bench_h1"
"""Name of the task in the processes of a benchmark; no other process knows it."""
ROBOT = "h1"
SEED = 1
HIDDEN = (512, 256, 128)
"""Units of the hidden layers of actor and critic alike."""

# Every value is written out: a changed default of the platform must not change the workload.
SETTINGS = AlgorithmSection(
    num_steps_per_env=24,
    num_epochs=5,
    num_minibatches=4,
    learning_rate=1e-3,
    schedule="adaptive",
    desired_kl=0.01,
    gamma=0.99,
    gae_lambda=0.95,
    clip_param=0.2,
    clip_value_loss=True,
    value_loss_coef=1.0,
    entropy_coef=0.01,
    max_grad_norm=1.0,
)
"""PPO's settings; each contender takes from here what it knows."""
MODEL = ModelSection(
    actor_hidden=list(HIDDEN),
    critic_hidden=list(HIDDEN),
    activation="elu",
    normalize_observations=True,
)


def zero_command(state: State) -> Tensor:
    """A velocity command that asks to stand still, ``(num_envs, 3)``."""
    return state.base_pos.new_zeros(state.num_envs, 3)


def bench_task() -> TaskConfig:
    """Return the task: 200 Hz physics, 50 Hz control, 69 observations, 19 actions."""
    height = get_robot(ROBOT).home_height
    terms = {
        "base_lin_vel": obs.base_lin_vel,
        "base_ang_vel": obs.base_ang_vel,
        "projected_gravity": obs.projected_gravity,
        "command": zero_command,
        "joint_pos": obs.joint_pos_rel,
        "joint_vel": obs.joint_vel,
        "last_action": obs.last_action,
    }
    return TaskConfig(
        id=TASK_ID,
        description="Throughput workload.",
        robot=ROBOT,
        timestep=0.005,
        decimation=4,
        episode_length_s=20.0,
        action_scale=0.5,
        action_clip=3.0,
        observations={"policy": {name: ObservationTerm(func=f) for name, f in terms.items()}},
        rewards={
            "upright": RewardTerm(func=rewards.upright_quaternion),
            "height": RewardTerm(func=rewards.height_linear, params={"target": height}),
            "forward_velocity": RewardTerm(func=rewards.forward_velocity, params={"limit": 1.0}),
            "action_rate": RewardTerm(func=rewards.action_rate, weight=-0.01),
            "joint_torque": RewardTerm(func=rewards.joint_torque_square, weight=-1e-5),
        },
        terminations={
            "base_too_low": StateTerm(
                func=terminations.base_too_low, params={"height": 0.6 * height}
            ),
            "tilted": StateTerm(func=terminations.tilted, params={"limit": math.radians(60)}),
        },
    )


def register() -> None:
    """Make the task known in this process; may be called again."""
    if TASK_ID not in registry.task_ids():
        registry.register_task(TASK_ID, bench_task)


def bench_env(num_envs: int, num_threads: int) -> BatchEnv:
    """Build the environments."""
    return registry.make_env(bench_task(), num_envs=num_envs, seed=SEED, num_threads=num_threads)


def bench_experiment(
    num_envs: int,
    precision: str,
    compiled: bool,
    *,
    runners: int = 0,
    asynchronous: bool = False,
) -> Experiment:
    """Return the workload as an experiment; :func:`register` must have been called."""
    algorithm = {
        **SETTINGS.model_dump(),
        "precision": precision,
        "compile": compiled,
        "asynchronous": asynchronous,
    }
    return validate(
        {
            "name": "bench",
            "task": {"id": TASK_ID, "num_envs": num_envs},
            "model": MODEL.model_dump(),
            "algorithm": algorithm,
            "resources": {"env_runners": runners},
            "train": {"env_steps": 10**12},
        }
    )


def random_actions(env: BatchEnv, steps: int) -> Tensor:
    """Draw what an untrained policy would do: unit normals, ``(steps, num_envs, actions)``."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(steps, env.num_envs, env.action_dim, generator=generator)
