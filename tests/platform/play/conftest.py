"""What the tests of playing share: small policies in a session."""

import pytest
import torch

from stridelab.export.bundle import describe_env, load_bundle, save_bundle
from stridelab.play.session import Session


@pytest.fixture(autouse=True)
def _settings_elsewhere(tmp_path, monkeypatch):
    """MuJoCo Studio keeps its settings in the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="session")
def walk_policy(skills_folder):
    """An untrained policy of the H1 that is commanded a velocity, and begins standing."""
    policy = load_bundle(skills_folder / "walk")
    changes = policy.description["experiment"]["task"].setdefault("randomization", {})
    changes["recorded_state"] = None
    return policy


@pytest.fixture
def walk_session(walk_policy):
    return Session(walk_policy, seed=0)


@pytest.fixture
def biped_session(tiny_bundle):
    """A policy of the biped, which takes no commands."""
    return Session(load_bundle(tiny_bundle), seed=0)


@pytest.fixture
def write_checkpoint(tiny_module, tiny_experiment, tiny_env):
    """Write a checkpoint as a trial does, whose policy was saved after ``env_steps``."""
    import json

    from stridelab.tuning.checkpoints import FILES, RECORD, files_of

    def write(folder, env_steps):
        with torch.no_grad():
            next(iter(tiny_module.parameters())).fill_(env_steps / 1e6)
        save_bundle(
            folder / "policy",
            tiny_module,
            tiny_experiment(),
            describe_env(tiny_env),
            env_steps=env_steps,
            git_commit=None,
        )
        (folder / RECORD).write_text(json.dumps({FILES: files_of(folder)}), encoding="utf-8")
        return folder

    return write
