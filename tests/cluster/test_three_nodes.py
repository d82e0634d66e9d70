"""A sweep on three nodes whose driver is killed half-way, and one that loses a node."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml
from mlflow import MlflowClient
from ray_nodes import Cluster, environment

pytestmark = [pytest.mark.cluster, pytest.mark.faults, pytest.mark.ray, pytest.mark.slow]

PER_ITERATION = 128
ITERATIONS, EVERY = 60, 10
TRIALS = 4
PATIENCE_S = 900.0


PACE = """
import os, time, torch

def pace(state):
    if os.path.exists({slowly!r}):
        time.sleep(0.3)
    return torch.zeros(state.num_envs)
"""
"""A reward of nothing that takes its time, so that a kill does not come too late."""


class Pace:
    """An installed package whose reward lets trials go slowly, or as fast as they can."""

    def __init__(self, folder):
        self._slowly = folder / "slowly"
        (folder / "pace.py").write_text(PACE.format(slowly=str(self._slowly)))
        info = folder / "pace-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pace\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[stridelab.rewards]\npace = pace:pace\n")
        self.path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])

    def slow(self):
        self._slowly.touch()

    def fast(self):
        self._slowly.unlink()


@pytest.fixture(scope="module")
def pace(tmp_path_factory):
    return Pace(tmp_path_factory.mktemp("pace"))


@pytest.fixture(scope="module")
def cluster(pace):
    """A head node without CPUs, so that all trials run on two workers."""
    cluster = Cluster(head_cpus=0, workers=2, PYTHONPATH=pace.path)
    yield cluster
    cluster.end()


@pytest.fixture
def submit(cluster, pace, tiny, tmp_path):
    """Start ``stridelab submit`` with a sweep of two configurations under two seeds."""
    tiny["task"]["rewards"] = {"pace": 1.0}
    tiny["train"] |= {"env_steps": ITERATIONS * PER_ITERATION, "checkpoint_every": EVERY}
    tiny |= {
        "resources": {"storage_path": str(tmp_path / "shared")},
        "seeds": [0, 1],
        "sweep": {"parameters": {"task.rewards.upright": [0.5, 1.0]}, "baseline": False},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    started = []

    def run():
        arguments = ["--address", cluster.url, "--submission-id", tmp_path.name.replace("_", "-")]
        process = subprocess.Popen(
            [sys.executable, "-m", "stridelab.cli.main", "submit", "tiny.yaml", *arguments],
            cwd=tmp_path,
            env=environment(RAY_AUTH_TOKEN=cluster.token, PYTHONPATH=pace.path),
            stdout=(tmp_path / "output.txt").open("a"),
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def sweep(cluster, tmp_path):
    return Sweep(cluster, tmp_path)


class Sweep:
    """What there is to see of the sweep."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.studies = folder / "shared/studies/tiny"
        self.output = folder / "output.txt"
        self.client = MlflowClient(f"sqlite:///{folder}/shared/mlflow.db")

    def wait_until_half_way(self, process):
        """Wait until each worker node has a trial, and the driver's files know its checkpoint.

        Both trials are then between two checkpoints, so that there is something to repeat.
        """
        known_from = None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and process.poll() is None:
            trials = [node.workers("ray::Trial") for node in self.cluster.workers]
            counts = [len(file.read_text().splitlines()) for file in self._results()]
            if known_from is None and all(trials) and sum(n > EVERY for n in counts) == 2:
                known_from = time.time()
            states = [file.stat().st_mtime for file in self.studies.glob("experiment_state-*")]
            is_known = known_from is not None and max(states, default=0.0) > known_from
            if is_known and all(3 <= count % EVERY <= 7 for count in counts):
                return
            time.sleep(0.3)
        raise AssertionError(self.output.read_text())

    def _results(self):
        return list(self.studies.glob("*/result.json"))

    def runs(self):
        experiment = self.client.get_experiment_by_name("tiny")
        return self.client.search_runs([experiment.experiment_id])

    def steps(self, run):
        history = self.client.get_metric_history(run.info.run_id, "env_steps")
        return sorted(point.step for point in history)

    def assert_complete(self):
        """All runs are FINISHED, with one whole curve each; return the children."""
        runs = self.runs()
        assert {run.info.status for run in runs} == {"FINISHED"}
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        assert len(runs) == len(children) + 1 == TRIALS + 1
        for run in children:
            assert self.steps(run) == [PER_ITERATION * i for i in range(1, ITERATIONS + 1)]
        return children

    def restarts(self):
        """Return how many trials repeated iterations after a checkpoint; all have ended."""
        results = [
            [json.loads(line) for line in file.read_text().splitlines()] for file in self._results()
        ]
        assert len(results) == TRIALS
        assert {lines[-1]["training_iteration"] for lines in results} == {ITERATIONS}
        restarted = [r for r in results if r[-1]["iterations_since_restore"] < ITERATIONS]
        assert all(len(lines) > ITERATIONS for lines in restarted)
        return len(restarted)


def test_a_killed_driver_is_resumed(cluster, sweep, submit, pace):
    pace.slow()
    first = submit()
    sweep.wait_until_half_way(first)
    drivers = cluster.nodes[0].workers("stridelab.cli.main")
    assert drivers
    for process in drivers:
        process.kill()
    assert first.wait(timeout=PATIENCE_S) == 1
    before = {run.info.run_id for run in sweep.runs()}
    assert before

    pace.fast()
    second = submit()
    assert second.wait(timeout=PATIENCE_S) == 0, sweep.output.read_text()
    sweep.assert_complete()
    assert before <= {run.info.run_id for run in sweep.runs()}
    assert sweep.restarts() == 2


def test_a_sweep_survives_the_loss_of_a_node(cluster, sweep, submit, pace):
    pace.slow()
    process = submit()
    sweep.wait_until_half_way(process)
    cluster.workers[0].raylet.kill()
    pace.fast()
    assert process.wait(timeout=PATIENCE_S) == 0, sweep.output.read_text()
    children = sweep.assert_complete()
    moved = [run for run in children if "stridelab.failures" in run.data.tags]
    assert len(moved) == 1
    assert sweep.restarts() == 1
