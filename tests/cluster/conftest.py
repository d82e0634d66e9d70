"""What the tests on real clusters share."""

import os

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def tiny() -> dict:
    """A small experiment as nested mappings, to change at will: two iterations of 128 steps."""
    return {
        "name": "tiny",
        "task": {"id": "biped_walk", "num_envs": 16, "episode_length_s": 0.2},
        "model": {"actor_hidden": [16], "critic_hidden": [16]},
        "algorithm": {
            "num_steps_per_env": 8,
            "num_epochs": 2,
            "num_minibatches": 2,
            "precision": "fp32",
        },
        "train": {"env_steps": 256, "checkpoint_every": 1, "video": False, "evaluate_episodes": 0},
        "tracking": {"system_metrics": False},
    }
