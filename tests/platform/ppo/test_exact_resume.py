"""A run resumed from a checkpoint is the run that was not interrupted, bit for bit."""

import pytest
import ray
import torch

from stridelab.algorithms.ppo import build_config
from stridelab.experiment import parse_experiment

EXPERIMENT = {
    "name": "resume",
    # Short episodes: time limits, falls and restarts all happen within the test.
    "task": {"id": "biped_walk", "num_envs": 8, "episode_length_s": 0.5},
    "model": {"actor_hidden": [16], "critic_hidden": [16]},
    "algorithm": {"num_steps_per_env": 8, "num_epochs": 2, "num_minibatches": 2},
    "train": {"env_steps": 1000},
}


@pytest.fixture
def local_ray():
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def build():
    return build_config(parse_experiment(EXPERIMENT), seed=3, num_threads=1).build_algo()


def weights(algorithm):
    module = algorithm.get_module("default_policy")
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.ray
def test_resumed_equals_uninterrupted(local_ray, tmp_path):
    uninterrupted = build()
    for _ in range(5):
        uninterrupted.train()
    uninterrupted.save_to_path(str(tmp_path / "checkpoint"))
    for _ in range(4):
        uninterrupted.train()
    expected, metrics = weights(uninterrupted), uninterrupted.iteration_metrics
    uninterrupted.stop()

    resumed = build()
    resumed.train()  # leaves traces that restoring must wipe out
    resumed.restore_from_path(str(tmp_path / "checkpoint"))
    assert resumed.env_steps == 5 * 64
    for _ in range(4):
        resumed.train()
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    for name, value in resumed.iteration_metrics.items():
        if not name.startswith("perf/"):
            assert value == metrics[name], name
    resumed.stop()
