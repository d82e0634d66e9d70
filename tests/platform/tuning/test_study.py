"""Studies that are run for real: a sweep, a failure, a killed process that is resumed."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import mlflow
import psutil
import pytest
import torch
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from stridelab.experiment import parse_experiment
from stridelab.export.bundle import load_bundle
from stridelab.tracking.store import default_uri
from stridelab.tuning.keep import keep_results
from stridelab.tuning.report import best_outcome
from stridelab.tuning.study import run_study
from stridelab.tuning.trial import Trial, trial_case, trial_experiment

PER_ITERATION = 128
"""Environment steps of an iteration of the tiny experiment."""

real = [pytest.mark.ray, pytest.mark.slow]


class Runs:
    """What MLflow holds of the experiment ``tiny`` in a storage folder."""

    def __init__(self, folder):
        self.client = MlflowClient(default_uri(folder))

    def all(self):
        found = self.client.get_experiment_by_name("tiny")
        return self.client.search_runs([found.experiment_id])

    def steps(self, run_id, name="env_steps"):
        """Steps at which a metric was logged, in the order of logging."""
        history = self.client.get_metric_history(run_id, name)
        return [point.step for point in sorted(history, key=lambda m: (m.timestamp, m.step))]

    def files(self, run_id, folder=None):
        return {file.path for file in self.client.list_artifacts(run_id, folder)}


def test_experiment_of_a_trial(tiny):
    config = {"experiment": tiny, "case": {"assignment": {"algorithm.gamma": 0.9}, "seed": 4}}
    assert trial_case(config) == ({"algorithm.gamma": 0.9}, 4)
    assert trial_experiment(config).algorithm.gamma == 0.9


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, local_ray, tiny_tree):
    """A finished sweep: two reward versions, one seed, three iterations, kept in MLflow."""
    storage = tmp_path_factory.mktemp("storage")
    experiment = parse_experiment(
        tiny_tree
        | {
            "train": tiny_tree["train"] | {"env_steps": 3 * PER_ITERATION},
            "resources": {"storage_path": str(storage)},
            "seeds": [3],
            "sweep": {
                "parameters": {"task.rewards": {"presets": ["v6", "v7"]}},
                "baseline": False,
            },
        }
    )
    result = run_study(experiment)
    problems = keep_results(result)
    return result, problems, Runs(storage)


class TestSweep:
    pytestmark = real

    def test_outcomes(self, sweep):
        result, problems, _ = sweep
        assert problems == []
        versions = {outcome.assignment["task.rewards"]: outcome for outcome in result.outcomes}
        assert versions.keys() == {"v6", "v7"}
        for name, outcome in versions.items():
            assert outcome.error is None
            assert outcome.seed == 3
            assert name in outcome.label
            assert outcome.metrics["env_steps"] == 3 * PER_ITERATION
            assert outcome.metrics["training_iteration"] == 3
            assert math.isfinite(outcome.metrics["episode/return"])
            assert 0.0 <= outcome.metrics["eval/survival_rate"] <= 1.0
            steps, values = outcome.curves["episode/return"]
            assert steps.tolist() == [PER_ITERATION * i for i in (1, 2, 3)]
            assert values[-1] == pytest.approx(outcome.metrics["episode/return"])
        # The versions weigh differently, from equal starts.
        assert (
            versions["v6"].metrics["episode/return"] != (versions["v7"].metrics["episode/return"])
        )

    def test_one_parent_and_a_child_for_each_trial(self, sweep):
        result, _, runs = sweep
        found = runs.all()
        assert len(found) == 3
        assert {run.info.status for run in found} == {"FINISHED"}
        [parent] = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        assert parent.info.run_id == result.parent_run_id
        children = {run.info.run_id: run for run in found if run is not parent}
        assert children.keys() == {outcome.run_id for outcome in result.outcomes}
        for run in children.values():
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id

    def test_parameters_and_metrics_of_a_child(self, sweep):
        result, _, runs = sweep
        for outcome in result.outcomes:
            data = runs.client.get_run(outcome.run_id).data
            assert data.params["seed"] == "3"
            assert data.params["task.rewards.preset"] == outcome.assignment["task.rewards"]
            assert data.params["algorithm.learning_rate"] == "0.001"
            assert float(data.params["task.rewards.upright"]) >= 0.0
            assert data.metrics["loss/value"] == pytest.approx(outcome.metrics["loss/value"])
            assert {"eval/survival_rate", "perf/env_steps_per_second"} <= data.metrics.keys()
            assert runs.steps(outcome.run_id) == [PER_ITERATION * i for i in (1, 2, 3)]

    def test_the_kept_policy_is_the_trained_one(self, sweep):
        from stridelab.cli.policy import find_policy

        result, _, _ = sweep
        outcome = result.outcomes[0]
        kept = find_policy(outcome.run_id, result.tracking_uri)
        assert kept.description["env_steps"] == 3 * PER_ITERATION
        assert kept.experiment.flat()["task.rewards.preset"] == outcome.assignment["task.rewards"]
        checkpoint = load_bundle(outcome.checkpoint.policy())
        for name, value in checkpoint.module.state_dict().items():
            assert torch.equal(value, kept.module.state_dict()[name]), name

    def test_the_best_policy_is_a_registered_model(self, sweep):
        result, _, runs = sweep
        [version] = runs.client.search_model_versions("name = 'tiny'")
        best = best_outcome(result)
        assert version.run_id == best.run_id
        assert version.tags["stridelab.configuration"] == f"{best.label} seed=3"
        assert float(version.tags["stridelab.score"]) == pytest.approx(
            best.metrics["episode/return"], rel=1e-5
        )
        mlflow.set_tracking_uri(result.tracking_uri)
        model = mlflow.pyfunc.load_model(f"models:/tiny/{version.version}")
        obs = torch.randn(5, 48)
        expected = load_bundle(best.checkpoint.policy()).act({"policy": obs})
        actions = model.predict({"policy": obs.numpy()})
        assert actions == pytest.approx(expected.numpy())
        with pytest.raises(MlflowException, match="policy"):
            model.predict({"polici": obs.numpy()})

    def test_the_parent_says_what_was_compared(self, sweep):
        result, _, runs = sweep
        tags = runs.client.get_run(result.parent_run_id).data.tags
        assert "| rewards=v6 |" in tags["mlflow.note.content"]
        assert tags["stridelab.swept"] == "task.rewards"
        assert tags["stridelab.scheduler"] == "fifo"
        for outcome in result.outcomes:
            run = runs.client.get_run(outcome.run_id)
            assert run.info.run_name == f"{outcome.label} seed=3"
            assert run.data.tags["stridelab.assignment"] == outcome.label
            assert run.data.tags["stridelab.task"] == "biped_walk"

    def test_pictures(self, sweep):
        result, _, runs = sweep
        for outcome in result.outcomes:
            assert "plots/learning_curve_return.png" in runs.files(outcome.run_id, "plots")
        assert {
            "plots/comparison.png",
            "plots/learning_curve_return.png",
            "plots/parallel_coordinates.png",
        } <= runs.files(result.parent_run_id, "plots")
        assert {"compare/compare.html", "compare/scores.png", "compare/curves_time.png"} <= (
            runs.files(result.parent_run_id, "compare")
        )
        assert "experiment.yaml" in runs.files(result.parent_run_id)

    def test_a_trial_goes_on_from_its_checkpoint(self, sweep, tiny, tmp_path):
        """The Trainable by itself: what it saves is where another one starts."""
        outcome = sweep[0].outcomes[0]
        tiny["train"]["env_steps"] = 5 * PER_ITERATION
        case = {"assignment": outcome.assignment, "seed": outcome.seed}
        trial = Trial({"experiment": tiny, "case": case, "cpus": 1.0})
        trial.load_checkpoint(outcome.checkpoint.path)
        first = trial.step()
        assert first["env_steps"] == 4 * PER_ITERATION
        assert "done" not in first
        last = trial.step()
        assert last["done"] is True
        assert "eval/survival_rate" in last
        trial.save_checkpoint(str(tmp_path))
        assert load_bundle(tmp_path).description["env_steps"] == 5 * PER_ITERATION
        trial.cleanup()


def start(folder, *options):
    """Start ``stridelab train`` as a session of its own, whose processes end together."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "stridelab.cli.main", "train", "tiny.yaml", *options],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=(folder / "stdout.txt").open("w"),
        stderr=(folder / "stderr.txt").open("a"),
        start_new_session=True,
    )


def kill(process):
    """Kill -9 everything at once: the driver, and Ray's daemons and workers under it."""
    below = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in below:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(below, timeout=10)


@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_study_is_resumed(tiny, tmp_path):
    iterations, every = 30, 5
    tiny["train"] |= {
        "env_steps": iterations * PER_ITERATION,
        "checkpoint_every": every,
        "keep_checkpoints": 1,  # Tune then notes each checkpoint at once
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    runs = Runs(tmp_path / "runs")
    process = start(tmp_path)
    try:
        for _ in range(12000):
            # With the second one the first is deleted, which is all that the driver has noted.
            checkpoints = list(tmp_path.glob("runs/studies/tiny/*/checkpoint_*[1-9]/policy"))
            if checkpoints or process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        kill(process)
    assert checkpoints, (tmp_path / "stderr.txt").read_text()
    [killed] = runs.all()
    assert killed.info.status == "RUNNING"
    before = runs.steps(killed.info.run_id)
    assert before
    assert before[-1] < iterations * PER_ITERATION

    process = start(tmp_path, "--resume", "--json")
    try:
        assert process.wait(timeout=600) == 0, (tmp_path / "stderr.txt").read_text()
    finally:
        if process.poll() is None:
            kill(process)
    [resumed] = runs.all()
    assert resumed.info.run_id == killed.info.run_id
    assert resumed.info.status == "FINISHED"
    # One curve without gaps or doubles, and what stood before the kill still stands.
    steps = runs.steps(resumed.info.run_id)
    assert steps == [PER_ITERATION * i for i in range(1, iterations + 1)]
    assert steps[: len(before)] == before
    # Training itself went on from a checkpoint, not from the start. The lines of the first driver
    # may be missing: Tune copies them to the study's folder now and then.
    [results] = tmp_path.glob("runs/studies/tiny/*/result.json")
    lines = [json.loads(line) for line in results.open()]
    assert lines[-1]["iterations_since_restore"] <= iterations - every
    trained = [line["training_iteration"] for line in lines]
    assert trained.count(1) <= 1
    assert trained[-1] == iterations
    [policy] = tmp_path.glob("runs/studies/tiny/*/checkpoint_*")
    assert load_bundle(policy).description["env_steps"] == iterations * PER_ITERATION
    # Standard output holds the results and nothing else.
    [record] = json.loads((tmp_path / "stdout.txt").read_text())
    assert record["run_id"] == resumed.info.run_id
    assert record["checkpoint"] == str(policy)
    assert record["error"] is None
    assert record["metrics"]["env_steps"] == iterations * PER_ITERATION
