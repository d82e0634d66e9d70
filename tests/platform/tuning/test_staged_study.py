"""Stages, time budgets and resuming with other resources, run for real."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from mlflow import MlflowClient

from stridelab.experiment import parse_experiment
from stridelab.export.bundle import load_bundle
from stridelab.tracking.store import default_uri
from stridelab.tuning.keep import keep_results
from stridelab.tuning.study import run_study
from stridelab.tuning.watch import StudyWatch

PER_ITERATION = 128
pytestmark = [pytest.mark.ray, pytest.mark.slow]


def steps_of(client, run_id):
    history = client.get_metric_history(run_id, "env_steps")
    return [point.step for point in sorted(history, key=lambda m: (m.timestamp, m.step))]


@pytest.fixture(scope="module")
def staged(tmp_path_factory, local_ray, tiny_tree):
    """Two seeds through three stages: as it is, with other settings, with other observations."""
    storage = tmp_path_factory.mktemp("storage")
    tree = {
        **tiny_tree,
        "train": {**tiny_tree["train"], "env_steps": 3 * PER_ITERATION},
        "resources": {"storage_path": str(storage)},
        "seeds": [3, 4],
        "stages": [
            {"name": "flat", "train.keep_checkpoints": 1},
            {
                "name": "harder",
                "start": "last",
                "task.rewards": "v7",
                "algorithm.learning_rate": 3e-4,
                "train.env_steps": 2 * PER_ITERATION,
            },
            {"name": "blind", "task.observations.policy": {"base_lin_vel": None}},
        ],
    }
    result = run_study(parse_experiment(tree))
    return result, keep_results(result), MlflowClient(default_uri(storage)), storage


class TestStages:
    def test_every_seed_goes_through_all_stages(self, staged):
        result, problems, _, storage = staged
        assert problems == []
        assert result.stopped == ""
        assert [o.seed for o in result.outcomes] == [3, 4]
        assert [o.metrics["env_steps"] for o in result.outcomes] == [8 * PER_ITERATION] * 2
        assert len(result.earlier) == 4
        folders = {path.name for path in (storage / "studies" / "tiny").iterdir() if path.is_dir()}
        assert {"flat", "harder", "blind"} <= folders

    def test_each_stage_is_a_run_below_one_parent_that_names_its_policys_parent(self, staged):
        result, _, client, _ = staged
        found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
        children = [run for run in found if run.info.run_id != result.parent_run_id]
        assert len(children) == 6
        assert {run.info.status for run in found} == {"FINISHED"}
        parents = {run.data.tags["mlflow.parentRunId"] for run in children}
        assert parents == {result.parent_run_id}
        runs = {run.info.run_name: run for run in children}
        assert set(runs) == {f"{s} seed={n}" for s in ("flat", "harder", "blind") for n in (3, 4)}
        assert "stridelab.parent_policy" not in runs["flat seed=3"].data.tags
        tags = runs["harder seed=3"].data.tags
        assert tags["stridelab.parent_policy"] == "flat (last)"
        assert tags["stridelab.parent_policy.run_id"] == runs["flat seed=3"].info.run_id
        assert tags["stridelab.parent_policy.env_steps"] == str(3 * PER_ITERATION)
        assert tags["stridelab.stage"] == "harder"
        assert runs["blind seed=4"].data.tags["stridelab.parent_policy"] == "harder (best)"

    def test_curves_go_on(self, staged):
        result, _, client, _ = staged
        for outcome in result.outcomes:
            expected = [PER_ITERATION * i for i in range(6, 9)]
            assert steps_of(client, outcome.run_id) == expected
            steps, _ = outcome.curves["episode/return"]
            assert steps.tolist() == [PER_ITERATION * i for i in range(1, 9)]

    def test_settings_of_each_stage(self, staged):
        _, _, client, _ = staged
        found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
        params = {run.info.run_name: run.data.params for run in found}
        assert params["flat seed=3"]["algorithm.learning_rate"] == "0.001"
        assert params["harder seed=3"]["algorithm.learning_rate"] == "0.0003"
        assert params["harder seed=3"]["task.rewards.preset"] == "v7"
        assert "task.rewards.preset" not in params["blind seed=3"]

    def test_the_policy_is_handed_on(self, staged):
        """What the second stage began with is what the first had at its end."""
        _, _, _, storage = staged
        for folder in (storage / "studies" / "tiny" / "harder").iterdir():
            if not (folder / "params.json").exists():
                continue
            case = json.loads((folder / "params.json").read_text())["case"]
            first = load_bundle(Path(case["start"]["checkpoint"]))
            assert first.description["env_steps"] == 3 * PER_ITERATION
            # Adam's steps go on counting: three iterations of two epochs of two minibatches.
            assert first.experiment.stages == []
            assert first.experiment.seeds == [3, 4]

    def test_other_observations_take_the_networks_only(self, staged):
        result, *_ = staged
        policy = load_bundle(result.outcomes[0].checkpoint.policy())
        assert "base_lin_vel" not in policy.description["env"]["layouts"]["policy"]
        assert policy.module.actor[0].weight.shape[1] == 45
        action = policy.act({"policy": torch.zeros(2, 45)})
        assert action.shape == (2, 17)


@pytest.fixture
def tree(tiny, tmp_path):
    tiny["resources"] = {"storage_path": str(tmp_path)}
    tiny["train"] |= {"env_steps": 6 * PER_ITERATION, "checkpoint_every": 1}
    return tiny


@pytest.fixture
def stop_at(monkeypatch):
    """Use up the time budget when a trial has come to an iteration."""

    def arm(iteration):
        look = StudyWatch.on_step_end

        def looked(self, trials, **info):
            if any((t.last_result or {}).get("training_iteration", 0) >= iteration for t in trials):
                self.time_budget_s = 0.0
            look(self, trials=trials, **info)

        monkeypatch.setattr(StudyWatch, "on_step_end", looked)
        return monkeypatch.undo

    return arm


def test_a_used_up_budget_leaves_a_study_that_can_be_resumed(local_ray, tree, stop_at):
    tree["seeds"] = [0, 1]
    tree["resources"] |= {"max_concurrent": 1, "time_budget": "2h"}
    disarm = stop_at(3)
    first = run_study(parse_experiment(tree))
    disarm()
    assert first.stopped == "time budget"
    assert any(outcome.is_unfinished for outcome in first.outcomes)
    client = MlflowClient(first.tracking_uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    statuses = {run.info.status for run in client.search_runs([experiment])}
    assert "RUNNING" not in statuses

    del tree["resources"]["time_budget"]
    second = run_study(parse_experiment(tree), resume=True)
    assert second.stopped == ""
    assert not any(outcome.is_unfinished for outcome in second.outcomes)
    assert {outcome.seed for outcome in second.outcomes} == {0, 1}
    assert second.parent_run_id == first.parent_run_id
    begun = {outcome.run_id for outcome in first.outcomes if outcome.run_id}
    assert begun
    assert begun <= {outcome.run_id for outcome in second.outcomes}
    for outcome in second.outcomes:
        assert steps_of(client, outcome.run_id) == [PER_ITERATION * i for i in range(1, 7)]
        assert client.get_run(outcome.run_id).info.status == "FINISHED"


def test_a_study_is_resumed_with_fewer_runners(local_ray, tree, stop_at):
    """Begun with a simulation process of its own, finished without one."""
    tree["resources"] |= {"env_runners": 1, "cpus_per_trial": 1}
    tree["resources"]["time_budget"] = "2h"
    disarm = stop_at(3)
    first = run_study(parse_experiment(tree))
    disarm()
    [begun] = first.outcomes
    assert begun.is_unfinished
    before = int(begun.metrics["env_steps"])
    assert 3 * PER_ITERATION <= before < 6 * PER_ITERATION

    tree["resources"]["env_runners"] = 0
    second = run_study(parse_experiment(tree), resume=True)
    [gone_on] = second.outcomes
    assert gone_on.error is None
    assert gone_on.run_id == begun.run_id
    client = MlflowClient(second.tracking_uri)
    expected = [PER_ITERATION * i for i in range(1, 7)]
    assert steps_of(client, gone_on.run_id) == expected
    settings = load_bundle(gone_on.checkpoint.policy()).experiment
    assert settings.resources.env_runners == 0


def test_an_existing_study_is_reported_again_when_it_is_to_be_resumed(local_ray, tree):
    tree["train"]["env_steps"] = 2 * PER_ITERATION
    tree["on_existing"] = "resume"
    first = run_study(parse_experiment(tree))
    second = run_study(parse_experiment(tree))
    assert second.folder == first.folder
    [a], [b] = first.outcomes, second.outcomes
    assert a.run_id == b.run_id
    assert a.metrics["env_steps"] == b.metrics["env_steps"] == 2 * PER_ITERATION
    client = MlflowClient(first.tracking_uri)
    assert client.get_run(a.run_id).info.status == "FINISHED"


def test_a_study_in_a_store_that_is_no_local_folder(local_ray, tree, tmp_path):
    """Through fsspec and with a tracking store elsewhere, as with an object store."""
    tree["train"]["env_steps"] = 2 * PER_ITERATION
    tree["resources"]["storage_path"] = f"local://{tmp_path}/bucket"
    tree["tracking"] = {"uri": f"sqlite:///{tmp_path}/mlflow.db", "system_metrics": False}
    result = run_study(parse_experiment(tree))
    assert keep_results(result) == []
    [outcome] = result.outcomes
    assert outcome.error is None
    assert Path(outcome.checkpoint.path).is_relative_to(tmp_path / "bucket" / "studies" / "tiny")
    assert load_bundle(outcome.checkpoint.policy()).description["env_steps"] == 2 * PER_ITERATION
    again = run_study(parse_experiment(tree), resume=True)
    assert again.outcomes[0].run_id == outcome.run_id


def test_kill_in_the_second_stage(tiny, tmp_path):
    """kill -9 of driver and workers; the first stage is not trained again."""
    tiny["train"] |= {"env_steps": 3 * PER_ITERATION, "checkpoint_every": 2}
    second = {"name": "b", "start": "last", "train.env_steps": 40 * PER_ITERATION}
    tiny["stages"] = [{"name": "a"}, second]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))

    def start(*options):
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        return subprocess.Popen(
            [sys.executable, "-m", "stridelab.cli.main", "train", "tiny.yaml", *options],
            cwd=tmp_path,
            env={**environment, "OMP_NUM_THREADS": "1"},
            stdout=(tmp_path / "stdout.txt").open("w"),
            stderr=(tmp_path / "stderr.txt").open("a"),
            start_new_session=True,
        )

    def kill(process):
        everyone = [*psutil.Process(process.pid).children(recursive=True), process]
        for one in everyone:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        psutil.wait_procs(everyone[:-1], timeout=10)

    process = start()
    try:
        for _ in range(12000):
            seen = list(tmp_path.glob("runs/studies/tiny/b/*/checkpoint_*/policy/policy.json"))
            if seen or process.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        kill(process)
    assert seen, (tmp_path / "stderr.txt").read_text()
    results = tmp_path.glob("runs/studies/tiny/a/*/result.json")
    before = {path: path.read_text() for path in results}

    process = start("--resume", "--json")
    try:
        assert process.wait(timeout=600) == 0, (tmp_path / "stderr.txt").read_text()
    finally:
        if process.poll() is None:
            kill(process)
    assert {path: path.read_text() for path in before} == before
    client = MlflowClient(default_uri(tmp_path / "runs"))
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    children = {run.info.run_name: run for run in found if "mlflow.parentRunId" in run.data.tags}
    assert children.keys() == {"a seed=0", "b seed=0"}
    assert {run.info.status for run in found} == {"FINISHED"}
    assert steps_of(client, children["a seed=0"].info.run_id) == [128, 256, 384]
    expected = [PER_ITERATION * i for i in range(4, 44)]
    assert steps_of(client, children["b seed=0"].info.run_id) == expected
    [record] = json.loads((tmp_path / "stdout.txt").read_text())
    assert record["metrics"]["env_steps"] == 43 * PER_ITERATION
