"""Benchmarks end to end at tiny sizes, and the adapters that other trainers see."""

import copy
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from stridelab.bench.arena import compete
from stridelab.bench.peers import NextStepVectorEnv, RslRlTraining
from stridelab.bench.suites import Size, env_suite, physics_suite, train_suite

TINY = Size(num_envs=4, num_threads=1, rounds=1)
UPSIDE_DOWN = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
GRAVITY_Z = 8
"""Column of the downward component of gravity in the observation."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """MuJoCo appends its warnings to MUJOCO_LOG.TXT in the working directory."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _task_forgotten(monkeypatch):
    """The adapters register the benchmark's task; other tests must not see it."""
    from stridelab_envs import registry

    registry.task_ids()
    monkeypatch.setattr(registry, "_tasks", copy.deepcopy(registry._tasks))


class TestAdapters:
    def test_rllib_sees_the_true_last_observation(self):
        env = NextStepVectorEnv(2, 1)
        obs, _ = env.reset(seed=0)
        assert obs.shape == env.observation_space.shape == (2, 69)
        assert env.single_action_space.shape == (19,)
        actions = np.zeros((2, 19), np.float32)
        env.batch_env.sim.qpos[1, 3:7] = UPSIDE_DOWN
        obs, _, terminated, _, infos = env.step(actions)
        assert terminated.tolist() == [False, True]
        assert infos == {}
        assert obs[0, GRAVITY_Z] == pytest.approx(-1.0, abs=1e-2)
        assert obs[1, GRAVITY_Z] == pytest.approx(1.0, abs=1e-2)
        obs, _, terminated, _, _ = env.step(actions)
        assert not terminated.any()
        assert obs[1, GRAVITY_Z] == pytest.approx(-1.0, abs=1e-2)

    def test_rsl_rl_gets_the_workloads_settings(self):
        pytest.importorskip("rsl_rl")
        training = RslRlTraining(4, 1, "bf16")
        algorithm = training.runner.alg
        assert training.run() == 4 * 24
        assert (algorithm.gamma, algorithm.lam) == (0.99, 0.95)
        assert (algorithm.num_learning_epochs, algorithm.num_mini_batches) == (5, 4)
        assert (algorithm.schedule, algorithm.desired_kl) == ("adaptive", 0.01)
        assert algorithm.use_mixed_precision
        widths = [layer.out_features for layer in algorithm.actor.mlp if hasattr(layer, "weight")]
        assert widths == [512, 256, 128, 19]


@pytest.mark.slow
@pytest.mark.parametrize("make", [physics_suite, env_suite])
def test_stepping_suites_run(make):
    suite = make(TINY, steps=5)
    match = compete(suite.entries, rounds=1, num_threads=1)
    assert match.skipped == {}
    assert match.rates.keys() == {entry.name for entry in suite.entries}
    assert set(match.env_steps.values()) == {4 * 5}


@pytest.mark.slow
@pytest.mark.ray
def test_every_trainer_that_is_installed_runs():
    entries = [entry for entry in train_suite(TINY, quick=True).entries if not entry.missing()]
    match = compete(entries, rounds=1, num_threads=1)
    assert match.skipped == {}
    assert match.env_steps["stridelab_bf16"] == match.env_steps["hand_loop_bf16"] == 4 * 24
    assert match.env_steps["rllib_stock"] >= 4 * 24


@pytest.mark.slow
@pytest.mark.ray
def test_profile_shares_out_the_whole_iteration():
    # In a process of its own: Ray may be running in this one.
    code = "from stridelab.cli.bench import app; app()"
    options = ["train", "--profile", "--num-envs", "4", "--threads", "1", "--rounds", "2", "--json"]
    result = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    shares = json.loads(result.stdout)["shares"]
    assert list(shares) == [
        "physics",
        "env terms",
        "inference",
        "learner forward",
        "learner backward",
        "learner optimizer",
        "weights sync",
        "rest",
    ]
    assert math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9)
    assert min(shares.values()) > 0.0
