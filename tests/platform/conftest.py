"""What the tests of the platform share: a tiny experiment, and Ray on this machine."""

import copy
import logging
import os

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

TINY = {
    "name": "tiny",
    # 10 control steps an episode: several end in every rollout.
    "task": {"id": "biped_walk", "num_envs": 16, "episode_length_s": 0.2},
    "model": {"actor_hidden": [16], "critic_hidden": [16]},
    "algorithm": {
        "num_steps_per_env": 8,
        "num_epochs": 2,
        "num_minibatches": 2,
        "precision": "fp32",
    },
    "train": {"env_steps": 256, "checkpoint_every": 1, "video": False, "evaluate_episodes": 2},
    "tracking": {"system_metrics": False},
}
"""Two iterations of 16 environments and 8 steps; networks of one layer of 16 units."""


STROLL_FRAMES, STROLL_CRITIC_FRAMES = 7, 3
"""History of the task ``stroll``."""


def stroll():
    """Return the biped's task with a noisy history and a clean privileged group."""
    from dataclasses import replace

    from stridelab_envs.mdp import observations
    from stridelab_envs.mdp.terms import ObservationTerm
    from stridelab_envs.registry import get_task

    task = get_task("biped_walk").with_overrides(
        {"observations": {"policy": {"base_lin_vel": None, "joint_pos": {"noise": 0.05}}}}
    )
    critic = {
        "joint_pos": ObservationTerm(func=observations.joint_pos),
        "base_lin_vel": ObservationTerm(func=observations.base_lin_vel, scale=2.0),
        "base_quat": ObservationTerm(func=observations.base_quat),
    }
    return replace(
        task,
        id="stroll",
        observations={**task.observations, "critic": critic},
        history={"policy": STROLL_FRAMES, "critic": STROLL_CRITIC_FRAMES},
    )


@pytest.fixture
def stroll_task(monkeypatch):
    """The task ``stroll``, known by its name."""
    from stridelab_envs import registry

    registry.task_ids()
    monkeypatch.setitem(registry._tasks, "stroll", stroll)
    return stroll()


@pytest.fixture
def tiny_estimator(stroll_task) -> dict:
    """Dotted keys that make the tiny experiment one of the module ``estimator``."""
    hidden = {"actor_hidden": [16], "critic_hidden": [16], "estimator_hidden": [16]}
    return {"task.id": "stroll", "model": {"kind": "estimator", **hidden}}


@pytest.fixture(scope="session")
def tiny_tree() -> dict:
    """The tiny experiment as nested mappings, to be left as it is."""
    return TINY


@pytest.fixture
def tiny(tiny_tree) -> dict:
    """The tiny experiment as nested mappings, to change at will."""
    return copy.deepcopy(tiny_tree)


@pytest.fixture
def tiny_experiment(tiny):
    """Build the tiny experiment with dotted keys set."""
    from stridelab.experiment import parse_experiment

    def build(**values):
        return parse_experiment(tiny).with_values(
            {key.replace("__", "."): value for key, value in values.items()}
        )

    return build


@pytest.fixture
def tiny_env(tiny_experiment):
    """Four environments of the tiny experiment."""
    from stridelab_envs.registry import make_env

    return make_env(tiny_experiment().task_config(), num_envs=4, seed=0, num_threads=1)


@pytest.fixture
def tiny_module(tiny_experiment, tiny_env):
    """A policy whose weights and normaliser are not those it starts with."""
    import torch

    from stridelab.algorithms.ppo.config import module_spec
    from stridelab_envs.gym import action_space, observation_space

    experiment = tiny_experiment()
    spec = module_spec(experiment.model, experiment.task_config())
    spec.observation_space, spec.action_space = observation_space(tiny_env), action_space(tiny_env)
    torch.manual_seed(0)
    module = spec.build()
    module.update_normalizers({"policy": torch.randn(50, 48) * 3.0 + 1.0})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module


@pytest.fixture
def tiny_bundle(tmp_path, tiny_module, tiny_env, tiny_experiment):
    """Folder of a policy bundle after 1234 environment steps."""
    from stridelab.export.bundle import describe_env, save_bundle

    folder = tmp_path / "policy"
    save_bundle(
        folder,
        tiny_module,
        tiny_experiment(),
        describe_env(tiny_env),
        env_steps=1234,
        git_commit="abc",
    )
    return folder


@pytest.fixture(scope="module")
def local_ray():
    """A Ray cluster of two cores, taken down before the next module."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()
