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


@pytest.fixture(scope="module")
def local_ray():
    ray.init(num_cpus=3, include_dashboard=False, logging_level="ERROR")
    yield
    ray.shutdown()


def build(task="biped_walk", runners=0):
    experiment = parse_experiment(EXPERIMENT).with_values(
        {"task.id": task, "resources.env_runners": runners}
    )
    return build_config(experiment, seed=3, num_threads=1).build_algo()


def weights(algorithm):
    module = algorithm.get_module("default_policy")
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("task", "runners"),
    [
        ("biped_walk", 0),
        ("h1_walk", 0),  # with commands, their curriculum, pushes and delays
        ("h1_walk", 2),
    ],
)
def test_resumed_equals_uninterrupted(local_ray, tmp_path, task, runners):
    uninterrupted = build(task, runners)
    for _ in range(5):
        uninterrupted.train()
    uninterrupted.save_to_path(str(tmp_path / "checkpoint"))
    for _ in range(4):
        uninterrupted.train()
    expected, metrics = weights(uninterrupted), uninterrupted.iteration_metrics
    uninterrupted.stop()

    resumed = build(task, runners)
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


@pytest.mark.ray
@pytest.mark.parametrize("runners", [0, 1])
def test_curricula_outlive_a_change_of_runners(local_ray, tmp_path, runners):
    """Episodes start afresh with other runners; how far training has come does not."""
    before = build("h1_walk", 2)
    before.train()
    [name] = before.get_curriculum()
    for worker, progress in zip(
        before.env_runner_group.healthy_worker_ids(), (0.2, 0.4), strict=True
    ):
        before.env_runner_group.foreach_env_runner(
            lambda runner, progress=progress: runner.set_curriculum({name: progress}),
            local_env_runner=False,
            remote_worker_ids=[worker],
        )
    assert before.get_curriculum() == {name: pytest.approx(0.3)}
    before.save_to_path(str(tmp_path / "checkpoint"))
    expected = weights(before)
    before.stop()

    after = build("h1_walk", runners)
    assert after.get_curriculum() == {name: 0.0}
    after.restore_from_path(str(tmp_path / "checkpoint"))
    assert after.get_curriculum() == {name: pytest.approx(0.3)}
    assert after.env_steps == 64
    for key, value in weights(after).items():
        assert torch.equal(value, expected[key]), key
    after.train()
    assert after.env_steps == 128
    after.stop()
