"""A sweep of many trials: what it costs the driver, with trials that cost next to nothing."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray
from ray import tune

from stridelab.experiment import parse_experiment
from stridelab.tracking.callback import MlflowCallback
from stridelab.tracking.client import connect
from stridelab.tracking.runs import find_runs
from stridelab.tuning import tuner
from stridelab.tuning.study import run_study

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TRIALS = 500
ITERATIONS = 5
STEPS = 4096
"""Environment steps of an iteration."""
METRICS = 40
"""As many as a trial of the biped reports."""
CALLS_PER_ITERATION = 3
"""Calls of MLflow that a trial may cost for each of its iterations, all others shared out."""
GROWTH = 0.1
"""Share by which the driver's memory may differ in the second half from what it was before."""


def toy_trial():
    """Return a trainable for the place of ``Trial``; as a local class it travels to workers."""

    class ToyTrial(tune.Trainable):
        @classmethod
        def default_resource_request(cls, config):
            return tune.PlacementGroupFactory([{"CPU": 1}])

        def setup(self, config):
            self.env_steps = 0
            self.gamma = config["case"]["assignment"]["algorithm.gamma"]

        def reset_config(self, new_config):
            self.setup(new_config)
            return True

        def step(self):
            self.env_steps += STEPS
            values = {f"reward/term_{n}": n + self.gamma * self.env_steps for n in range(METRICS)}
            done = self.env_steps == ITERATIONS * STEPS
            return {"env_steps": self.env_steps, "episode/return": 1.0, "done": done, **values}

        def save_checkpoint(self, checkpoint_dir):
            Path(checkpoint_dir, "env_steps").write_text(str(self.env_steps))

    return ToyTrial


class CountedClient:
    """An MLflow client whose calls are counted by the names of the methods."""

    def __init__(self, client, calls):
        self._client = client
        self._calls = calls

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def counted(*args, **kwargs):
            self._calls[name] += 1
            return method(*args, **kwargs)

        return counted


@pytest.fixture
def calls(monkeypatch):
    """Number of calls of each method of the MLflow client that sweeps write with."""
    calls = Counter()
    monkeypatch.setattr(
        "stridelab.tracking.store.connect", lambda uri: CountedClient(connect(uri), calls)
    )
    return calls


@pytest.fixture
def memory(monkeypatch):
    """Memory of this process at the end of each trial [bytes]."""
    memory = []
    complete = MlflowCallback.on_trial_complete

    def measured(self, *args, **kwargs):
        complete(self, *args, **kwargs)
        memory.append(psutil.Process().memory_info().rss)

    monkeypatch.setattr(MlflowCallback, "on_trial_complete", measured)
    return memory


@pytest.fixture
def toy_trials(monkeypatch):
    """Let sweeps on this machine train toy trials, all of them in the same few processes."""
    settings = tuner._tune_config
    monkeypatch.setattr(tuner, "Trial", toy_trial())
    monkeypatch.setattr(
        tuner, "_tune_config", lambda *args: replace(settings(*args), reuse_actors=True)
    )
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


def test_a_sweep_of_500_trials(toy_trials, calls, memory, tmp_path):
    experiment = parse_experiment(
        {
            "name": "large",
            "task": {"id": "biped_walk"},
            "train": {"env_steps": ITERATIONS * STEPS},
            "resources": {"storage_path": str(tmp_path)},
            "sweep": {
                "parameters": {"algorithm.gamma": {"uniform": [0.9, 0.999]}},
                "samples": TRIALS,
                "baseline": False,
            },
        }
    )
    result = run_study(experiment)

    assert [outcome.error for outcome in result.outcomes] == [None] * TRIALS
    runs = find_runs(result.tracking_uri, "large", kind="trial")
    assert len(runs) == TRIALS
    assert {(run.status, run.metrics["env_steps"]) for run in runs} == {
        ("FINISHED", ITERATIONS * STEPS)
    }
    assert {run.parent_run_id for run in runs} == {result.parent_run_id}

    iterations = TRIALS * ITERATIONS
    assert sum(calls.values()) <= CALLS_PER_ITERATION * iterations, calls
    # One call holds all metrics of an iteration; parameters of a trial go before.
    parameters = -(-len(runs[0].params) // 100)
    assert calls["log_batch"] <= iterations + TRIALS * parameters + 10, calls

    assert len(memory) == TRIALS
    before = memory[TRIALS // 2]
    change = [value / before - 1.0 for value in memory[TRIALS // 2 :]]
    assert -GROWTH < min(change) <= max(change) < GROWTH
