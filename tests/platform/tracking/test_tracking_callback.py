import copy
import logging
import pickle
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from stridelab.tracking.callback import MlflowCallback, ParentRun
from stridelab.tracking.trials import TrialInfo, describe_trial

EXPERIMENT = {"name": "x1_walk", "task": {"id": "walk", "rewards": {"up": 1.0}}, "seeds": [0, 1]}


class FakeTrial:
    """What the callback uses of a Tune trial."""

    def __init__(self, trial_id, lr=3e-4, seed=0, status="RUNNING"):
        self.trial_id = trial_id
        self.status = status
        self.config = {
            "experiment": copy.deepcopy(EXPERIMENT),
            "assignment": {"algorithm.learning_rate": lr},
            "seed": seed,
        }
        self.error_file = None

    def get_error(self):
        return None


class Sweep:
    """Calls the hooks of a callback as Tune does; ``open`` starts a new process, so to speak."""

    def __init__(self, site, parent=True):
        self.site = site
        self.experiment = f"sweep-{uuid.uuid4().hex[:6]}"
        self.parent = ParentRun("my sweep", EXPERIMENT, {"team": "legs"}) if parent else None
        self.open()

    def open(self, state=None):
        callback = MlflowCallback(
            self.site.uri,
            self.experiment,
            self.site.folder,
            sweep_id="2026-01-01",
            parent=self.parent,
            experiment_yaml="name: x1_walk\n",
            system_metrics=False,
        )
        self.callback = pickle.loads(pickle.dumps(callback))
        if state is not None:
            self.callback.set_state(state)
        self.callback.setup(stop=None, num_samples=2, total_num_samples=2)
        return self

    def start(self, *trials):
        for trial in trials:
            self.callback.on_trial_start(0, list(trials), trial)

    def result(self, trial, env_steps, value=0.0, **more):
        result = {"env_steps": env_steps, "episode/return": value, "training_iteration": 1, **more}
        self.callback.on_trial_result(1, [trial], trial, result)

    def complete(self, trial):
        self.callback.on_trial_complete(1, [trial], trial)

    def end(self):
        self.callback.on_experiment_end([])

    def run(self, trial):
        return self.site.run(self.callback.run_ids[trial.trial_id])

    def returns(self, trial):
        return self.site.history(self.callback.run_ids[trial.trial_id], "episode/return")

    def statuses(self):
        return {run.info.run_name: run.info.status for run in self.site.runs(self.experiment)}


@pytest.fixture
def sweep(site):
    sweep = Sweep(site)
    yield sweep
    sweep.callback.close()


def test_one_parent_and_a_child_for_each_trial(sweep, site):
    a, b = FakeTrial("t_0", seed=0), FakeTrial("t_1", lr=1e-3, seed=1)
    sweep.start(a, b)
    for step in (100, 200):
        sweep.result(a, step, value=step / 100)
    sweep.complete(a)
    sweep.complete(b)
    sweep.end()

    assert sweep.statuses() == {
        "my sweep": "FINISHED",
        "learning_rate=0.0003 seed=0": "FINISHED",
        "learning_rate=0.001 seed=1": "FINISHED",
    }
    parent = site.run(sweep.callback.parent_run_id)
    assert parent.data.params["seeds"] == "[0, 1]"
    assert parent.data.tags["team"] == "legs"
    child = sweep.run(a)
    assert child.data.params == {
        "name": "x1_walk",
        "task.id": "walk",
        "task.rewards.up": "1.0",
        "algorithm.learning_rate": "0.0003",
        "seed": "0",
    }
    tags = child.data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["stridelab.trial_id"] == "t_0"
    assert tags["stridelab.sweep_id"] == "2026-01-01"
    assert tags["stridelab.seed"] == "0"
    assert tags["stridelab.versions.mlflow"].startswith("3.")
    assert "pytest" in tags["stridelab.command"]
    assert sweep.returns(a) == [(100, 1.0), (200, 2.0)]
    assert site.history(child.info.run_id, "env_steps") == [(100, 100.0), (200, 200.0)]
    for run in (parent, child):
        assert "experiment.yaml" in site.artifacts(run.info.run_id)


def test_a_result_is_one_request(sweep, monkeypatch):
    trial = FakeTrial("t_0")
    sweep.start(trial)
    client = sweep.callback._store._client
    log_batch, calls = client.log_batch, []
    for name in ("search_runs", "get_run", "set_tag", "log_metric", "update_run"):
        monkeypatch.setattr(client, name, lambda *a, **k: calls.append("other"))

    def counted(*args, **kwargs):
        calls.append("batch")
        return log_batch(*args, **kwargs)

    monkeypatch.setattr(client, "log_batch", counted)
    for step in (1, 2, 3):
        sweep.result(trial, step, **{f"reward/{i}": 1.0 for i in range(50)})
    assert calls == ["batch"] * 3


def test_a_single_run_has_no_parent_and_holds_the_diff(site, monkeypatch):
    monkeypatch.setattr("stridelab.tracking.callback.git_diff", lambda: "the diff")
    sweep = Sweep(site, parent=False)
    trial = FakeTrial("t_0")
    sweep.start(trial)
    sweep.complete(trial)
    sweep.end()
    assert sweep.statuses() == {"learning_rate=0.0003 seed=0": "FINISHED"}
    assert sweep.callback.parent_run_id is None
    run = sweep.run(trial)
    assert "mlflow.parentRunId" not in run.data.tags
    assert site.artifacts(run.info.run_id) == {"experiment.yaml", "git.diff"}


def test_the_diff_of_a_sweep_is_stored_once(site, monkeypatch):
    monkeypatch.setattr("stridelab.tracking.callback.git_diff", lambda: "the diff")
    sweep = Sweep(site)
    trial = FakeTrial("t_0")
    sweep.start(trial)
    sweep.end()
    assert "git.diff" in site.artifacts(sweep.callback.parent_run_id)
    assert "git.diff" not in site.artifacts(sweep.callback.run_ids["t_0"])


class TestResume:
    def test_the_same_runs_go_on_without_double_points(self, sweep):
        trial = FakeTrial("t_0")
        sweep.start(trial)
        for step in (100, 200, 300):
            sweep.result(trial, step, value=1.0)
        state = pickle.loads(pickle.dumps(sweep.callback.get_state()))
        sweep.end()
        assert set(sweep.statuses().values()) == {"KILLED"}

        before = (sweep.callback.parent_run_id, sweep.callback.run_ids)
        sweep.open(state)
        sweep.start(trial)
        assert set(sweep.statuses().values()) == {"RUNNING"}
        for step in (200, 300, 400):  # from the checkpoint at 100
            sweep.result(trial, step, value=2.0)
        sweep.complete(trial)
        sweep.end()
        assert (sweep.callback.parent_run_id, sweep.callback.run_ids) == before
        assert sweep.returns(trial) == [(100, 1.0), (200, 1.0), (300, 1.0), (400, 2.0)]
        assert set(sweep.statuses().values()) == {"FINISHED"}
        assert len(sweep.statuses()) == 2

    @pytest.mark.parametrize("age", ["none", "old"])
    def test_after_a_hard_kill_runs_are_found_by_their_tags(self, sweep, age):
        """The state of Tune is missing or older than what MLflow has."""
        trial, lost = FakeTrial("t_0"), FakeTrial("t_lost", seed=7)
        sweep.start(trial, lost)
        sweep.result(trial, 100, value=1.0)
        state = sweep.callback.get_state() if age == "old" else None
        sweep.result(trial, 200, value=1.0)
        before = dict(sweep.callback.run_ids)
        sweep.callback._store = None  # killed: nothing is closed

        sweep.open(state)
        sweep.start(trial)
        sweep.result(trial, 200, value=2.0)
        sweep.result(trial, 300, value=2.0)
        sweep.complete(trial)
        sweep.end()
        assert sweep.callback.run_ids["t_0"] == before["t_0"]
        assert sweep.returns(trial) == [(100, 1.0), (200, 1.0), (300, 2.0)]
        assert sweep.statuses() == {
            "my sweep": "FINISHED",
            "learning_rate=0.0003 seed=0": "FINISHED",
            "learning_rate=0.0003 seed=7": "KILLED",  # Tune does not know it any more
        }

    def test_a_failed_trial_that_is_tried_again_loses_its_error(self, sweep):
        trial = FakeTrial("t_0")
        sweep.start(trial)
        sweep.callback.on_trial_error(1, [trial], trial)
        state = sweep.callback.get_state()
        sweep.end()
        assert sweep.statuses()["my sweep"] == "FAILED"
        assert sweep.run(trial).data.tags["stridelab.error"] == "unknown error"
        sweep.open(state)
        sweep.start(trial)
        sweep.complete(trial)
        sweep.end()
        assert set(sweep.statuses().values()) == {"FINISHED"}
        assert sweep.run(trial).data.tags["stridelab.error"] == ""


def test_changed_parameters_become_metrics(sweep, site):
    trial = FakeTrial("t_0", lr=1e-3)
    sweep.start(trial)
    sweep.result(trial, 100)
    trial.config["assignment"].update({"algorithm.learning_rate": 2e-3, "task.terrain": "rough"})
    sweep.start(trial)  # population based training starts the trial anew
    sweep.result(trial, 50)  # skipped, and the change must not be lost with it
    sweep.result(trial, 200)
    sweep.result(trial, 300)
    trial.config["assignment"]["task.terrain"] = "stairs"
    sweep.result(trial, 400)
    run = sweep.run(trial)
    assert run.data.params["algorithm.learning_rate"] == "0.001"
    assert site.history(run.info.run_id, "hp/algorithm.learning_rate") == [(200, 2e-3)]
    assert run.data.tags["stridelab.hp.task.terrain"] == "stairs"
    assert [step for step, _ in sweep.returns(trial)] == [100, 200, 300, 400]


def test_what_is_to_vary_has_a_whole_curve(site):
    """Of a population: from the first value on, and the latest tags."""

    def describe(trial):
        assignment = trial.config["assignment"]
        tags = {"parent_policy": trial.config.get("from", "none")}
        return TrialInfo("member 0", assignment, tags, varying=("lr", "terrain"))

    sweep = Sweep(site, parent=False)
    sweep.callback.describe = describe
    trial = FakeTrial("t_0")
    trial.config = {"assignment": {"lr": 1e-3, "gamma": 0.9, "terrain": "flat"}}
    sweep.start(trial)
    sweep.result(trial, 100)
    sweep.result(trial, 200)
    trial.config = {"assignment": {"lr": 2e-3, "gamma": 0.9, "terrain": "flat"}, "from": "member 3"}
    sweep.result(trial, 300)
    sweep.result(trial, 400)
    sweep.complete(trial)
    sweep.end()
    run = sweep.run(trial)
    assert site.history(run.info.run_id, "hp/lr") == [(100, 1e-3), (300, 2e-3)]
    assert site.history(run.info.run_id, "hp/gamma") == []
    assert run.data.tags["parent_policy"] == "member 3"
    assert run.data.params["lr"] == "0.001"


def test_a_trial_that_does_not_change_is_described_once(sweep):
    calls = []
    describe = sweep.callback.describe
    sweep.callback.describe = lambda trial: calls.append(trial) or describe(trial)
    trial = FakeTrial("t_0")
    sweep.start(trial)
    for step in range(1, 6):
        sweep.result(trial, 100 * step)
    assert len(calls) == 2  # when its run is opened, and at the first result


class TestFailures:
    def test_the_last_error_is_kept_as_a_tag(self, sweep, tmp_path):
        bad, good = FakeTrial("t_0", seed=0), FakeTrial("t_1", seed=1)
        sweep.start(bad, good)
        file = tmp_path / "error.txt"
        bad.error_file = str(file)
        file.write_text("Failure # 1 (occurred at noon)\nfirst\n")
        sweep.callback.on_trial_recover(1, [bad], bad)
        assert sweep.run(bad).info.status == "RUNNING"
        assert sweep.run(bad).data.tags["stridelab.failures"] == "1"
        assert sweep.run(bad).data.tags["stridelab.last_failure"].endswith("first")
        file.write_text(f"{file.read_text()}Failure # 2 (occurred at one)\nValueError: nan\n")
        sweep.callback.on_trial_error(1, [bad, good], bad)
        sweep.complete(good)
        sweep.end()
        run = sweep.run(bad)
        assert run.info.status == "FAILED"
        assert run.data.tags["stridelab.error"] == "2 (occurred at one)\nValueError: nan"
        assert sweep.statuses()["my sweep"] == "FINISHED"  # one of two did it

    def test_of_a_long_error_the_end_is_kept(self, sweep):
        trial = FakeTrial("t_0")
        trial.get_error = lambda: "x" * 9000 + "ValueError: nan"
        sweep.callback.on_trial_error(1, [trial], trial)
        error = sweep.run(trial).data.tags["stridelab.error"]
        assert len(error) == 8000
        assert error.endswith("xValueError: nan")

    def test_a_trial_that_fails_before_it_starts_is_seen(self, sweep):
        trial = FakeTrial("t_0", status="PENDING")
        sweep.callback.on_trial_error(1, [trial], trial)
        assert sweep.run(trial).info.status == "FAILED"

    def test_a_trial_stopped_before_it_starts_leaves_no_run(self, sweep):
        sweep.complete(FakeTrial("t_0", status="PENDING"))
        assert sweep.callback.run_ids == {}

    def test_an_interrupt_kills_what_is_left(self, sweep):
        done, left = FakeTrial("t_0", seed=0), FakeTrial("t_1", seed=1)
        sweep.start(done, left)
        sweep.complete(done)
        left.status = "TERMINATED"  # Tune's own cleanup, after the last step
        sweep.end()
        sweep.callback.close()  # a second time does nothing
        assert sweep.statuses() == {
            "my sweep": "KILLED",
            "learning_rate=0.0003 seed=0": "FINISHED",
            "learning_rate=0.0003 seed=1": "KILLED",
        }

    def test_a_trial_ended_by_a_stopper_of_the_sweep_is_finished(self, sweep):
        trial = FakeTrial("t_0")
        sweep.start(trial)
        sweep.callback.on_step_end(1, [trial])
        assert sweep.run(trial).info.status == "RUNNING"
        trial.status = "TERMINATED"
        sweep.callback.on_step_end(2, [trial])
        assert sweep.run(trial).info.status == "FINISHED"

    def test_a_process_that_exits_early_leaves_no_running_run(self, site, tmp_path):
        script = tmp_path / "train.py"
        script.write_text(
            f"import sys; sys.path[:0] = {sys.path!r}\n"
            "from test_tracking_callback import FakeTrial, MlflowCallback, ParentRun\n"
            f"callback = MlflowCallback({site.uri!r}, 'early', {str(site.folder)!r},\n"
            "                          sweep_id='s', parent=ParentRun('sweep'))\n"
            "callback.setup()\n"
            "callback.on_trial_start(0, [], FakeTrial('t_0'))\n"
            "raise KeyboardInterrupt\n"
        )
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "KeyboardInterrupt" in done.stderr
        statuses = {run.info.run_name: run.info.status for run in site.runs("early")}
        assert statuses == {"sweep": "KILLED", "learning_rate=0.0003 seed=0": "KILLED"}


class TestNeverRaises:
    def test_errors_inside_a_hook_become_warnings(self, sweep, caplog):
        trial = FakeTrial("t_0")
        sweep.start(trial)

        def broken(*args, **kwargs):
            raise RuntimeError("disk full")

        sweep.callback._store.log_metrics = broken
        sweep.result(trial, 100)
        assert "on_trial_result failed" in caplog.text

    def test_without_a_store_nothing_happens(self, site, caplog):
        callback = MlflowCallback("nonsense://x", "walk", site.folder, sweep_id="s")
        callback.setup()
        trial = FakeTrial("t_0")
        callback.on_trial_start(0, [trial], trial)
        callback.on_trial_result(0, [trial], trial, {"env_steps": 1})
        callback.on_step_end(0, [trial])
        callback.on_trial_complete(0, [trial], trial)
        callback.on_experiment_end([trial])
        assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
            caplog.records[0].message
        ]
        assert "tracking is off" in caplog.records[0].message

    def test_a_result_without_steps_is_left_out(self, sweep, caplog):
        trial = FakeTrial("t_0")
        sweep.start(trial)
        sweep.callback.on_trial_result(1, [trial], trial, {"episode/return": 1.0})
        assert 'no "env_steps"' in caplog.text
        assert sweep.returns(trial) == []


def test_system_metrics_of_trials_on_this_machine_only(site):
    callback = MlflowCallback(site.uri, "system", site.folder, sweep_id="s")
    callback.setup()
    here, there = FakeTrial("t_0"), FakeTrial("t_1")
    callback.on_trial_result(1, [], here, {"env_steps": 1, "episode/return": 1.0})
    callback.on_trial_result(
        1, [], there, {"env_steps": 1, "episode/return": 1.0, "node_ip": "203.0.113.9"}
    )
    metrics = site.run(callback.run_ids["t_0"]).data.metrics
    assert 0 <= metrics["system/cpu_percent"] <= 100
    assert metrics["system/memory_gb"] > 0
    assert set(site.run(callback.run_ids["t_1"]).data.metrics) == {"env_steps", "episode/return"}
    callback.close()


def test_describe_can_be_replaced(site):
    def describe(trial):
        return describe_trial(FakeTrial("x", seed=42))

    callback = MlflowCallback(site.uri, "own", site.folder, sweep_id="s", describe=describe)
    callback.setup()
    callback.on_trial_start(0, [], FakeTrial("t_0"))
    assert site.run(callback.run_ids["t_0"]).data.params["seed"] == "42"
    callback.close()
