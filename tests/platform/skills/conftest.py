"""Skills of untrained policies: bundles as training would leave them, and the file naming them."""

from __future__ import annotations

import pytest
import torch
import yaml

from stridelab.algorithms.ppo.config import module_spec
from stridelab.experiment import parse_experiment
from stridelab.export.bundle import describe_env, save_bundle
from stridelab_envs.gym import action_space, observation_space
from stridelab_envs.registry import make_env

TASKS = ("h1_walk", "h1_reach", "h1_squat", "h1_step")


def write_bundle(folder, task, seed=0):
    """Write an untrained policy of a task section whose actions differ from zero."""
    experiment = parse_experiment(
        {
            "name": "untrained",
            "task": {"num_envs": 4, **task},
            "model": {"actor_hidden": [8], "critic_hidden": [8]},
            "train": {"env_steps": 1},
        }
    )
    env = make_env(experiment.task_config(), num_envs=1, seed=0, num_threads=1)
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(env), action_space(env)
    torch.manual_seed(seed)
    module = spec.build()
    with torch.no_grad():
        module.actor[-1].bias.uniform_(-0.1, 0.1)
    save_bundle(folder, module, experiment, describe_env(env), env_steps=0, git_commit=None)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Folder with a bundle for each skill of the H1, by the task's name; to be left as it is."""
    folder = tmp_path_factory.mktemp("policies")
    for seed, task_id in enumerate(TASKS):
        write_bundle(folder / task_id, {"id": task_id}, seed)
    return folder


@pytest.fixture
def bundle(tmp_path):
    """Write one more bundle, of a task section."""

    def write(name, **task):
        write_bundle(tmp_path / name, task)
        return tmp_path / name

    return write


@pytest.fixture
def skills_file(tmp_path, bundles):
    """Write a skills file; names are those of the tasks without ``h1_``."""

    def write(entries=None, *, text=None):
        if entries is None:
            entries = {
                task_id.removeprefix("h1_"): {"policy": str(bundles / task_id)} for task_id in TASKS
            }
            entries["squat"]["spare"] = 1
        path = tmp_path / "skills.yaml"
        content = text if text is not None else yaml.safe_dump({"skills": entries}, sort_keys=False)
        path.write_text(content)
        return path

    return write
