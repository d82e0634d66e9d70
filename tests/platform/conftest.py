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


@pytest.fixture
def tiny() -> dict:
    """The tiny experiment as nested mappings, to change at will."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny_experiment(tiny):
    """Build the tiny experiment with dotted keys set."""
    from stridelab.experiment import parse_experiment

    def build(**values):
        return parse_experiment(tiny).with_values(
            {key.replace("__", "."): value for key, value in values.items()}
        )

    return build


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
