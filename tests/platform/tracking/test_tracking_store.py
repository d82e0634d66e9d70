import math

import pytest

from stridelab.tracking.store import default_uri, open_store
from stridelab_envs.errors import UserError


@pytest.fixture(scope="module")
def store(site):
    return site.open("store")


class Calls:
    """Counts the calls of one method of the store's client."""

    def __init__(self, monkeypatch, store, name):
        self.count = 0
        method = getattr(store._client, name)

        def counted(*args, **kwargs):
            self.count += 1
            return method(*args, **kwargs)

        monkeypatch.setattr(store._client, name, counted)


def test_default_uri_lies_in_the_storage_path(tmp_path):
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert default_uri(tmp_path.as_uri()) == default_uri(tmp_path)
    with pytest.raises(UserError, match="s3://bucket/x"):
        default_uri("s3://bucket/x")


def test_an_unknown_kind_of_uri_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="tracking uri"):
        open_store("nonsense://user:secret@host", "walk", tmp_path)


def test_a_run_is_read_back_as_it_was_written(site, store, tmp_path):
    parent = store.create_run("sweep")
    run_id = store.create_run("lr=1 seed=0", {"note": "hello"}, parent_run_id=parent)
    store.log_params(run_id, {"task": {"id": "walk"}, "seed": 0})
    store.log_metrics(run_id, {"episode/return": 1.0, "env_steps": 100}, 100)
    store.log_metrics(run_id, {"episode/return": 2.0, "env_steps": 200}, 200)
    store.log_text(run_id, "name: walk\n", "experiment.yaml")
    assert store.run_status(run_id) == "RUNNING"
    store.finish(run_id, "FINISHED")

    run = site.run(run_id)
    assert run.info.run_name == "lr=1 seed=0"
    assert run.info.status == store.run_status(run_id) == "FINISHED"
    assert run.data.tags["note"] == "hello"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.params == {"task.id": "walk", "seed": "0"}
    assert site.history(run_id, "episode/return") == [(100, 1.0), (200, 2.0)]
    snapshot = store.snapshot(run_id)
    assert (snapshot.env_steps, snapshot.params["seed"]) == (200, "0")
    file = site.folder / "artifacts" / run_id / "artifacts" / "experiment.yaml"
    assert file.read_text() == "name: walk\n"


def test_files_and_folders_become_artifacts(site, store, tmp_path):
    run_id = store.create_run("files")
    (tmp_path / "policy" / "deep").mkdir(parents=True)
    (tmp_path / "policy" / "policy.json").write_text("{}")
    (tmp_path / "policy" / "deep" / "x.txt").write_text("x")
    store.log_artifact(run_id, tmp_path / "policy", "policy")
    store.log_artifact(run_id, tmp_path / "policy" / "policy.json", "single")
    assert site.artifacts(run_id, "policy") == {"policy/deep", "policy/policy.json"}
    assert site.artifacts(run_id, "single") == {"single/policy.json"}
    with pytest.raises(FileNotFoundError):
        store.log_artifact(run_id, tmp_path / "nothing")


def test_many_long_and_odd_params_and_tags(site, store, monkeypatch):
    run_id = store.create_run("limits")
    calls = Calls(monkeypatch, store, "log_batch")
    params = {f"p.{i}": i for i in range(250)} | {"k" * 300: "v" * 9000, "a b/ü:%": "odd"}
    store.log_params(run_id, params)
    assert calls.count == 3  # 252 of them, 100 a request
    store.set_tags(run_id, {"note": "t" * 9000, "t" * 300: "x"})
    data = site.run(run_id).data
    assert len(data.params) == 252
    assert data.params["p.249"] == "249"
    assert data.params["a b/___"] == "odd"
    assert {len(v) for k, v in data.params.items() if k.startswith("kk")} == {6000}
    assert len(data.tags["note"]) == 8000
    assert store.pending == 0


def test_one_request_a_step_and_nan_is_counted(site, store, monkeypatch):
    run_id = store.create_run("metrics")
    calls = Calls(monkeypatch, store, "log_batch")
    values = {f"reward/{i}": float(i) for i in range(300)}
    store.log_metrics(run_id, {**values, "loss/policy": math.nan, "secret": 1.0}, 10)
    assert calls.count == 1
    store.log_metrics(run_id, {"loss/policy": math.inf}, 20)
    assert calls.count == 1  # nothing left to send
    assert store.dropped_values(run_id) == 2
    store.finish(run_id, "KILLED")
    run = site.run(run_id)
    assert len(run.data.metrics) == 300
    assert run.data.tags["stridelab.dropped_values"] == "2"
    assert run.info.status == "KILLED"


def test_a_run_with_the_same_identity_is_continued(site, store):
    identity = {"stridelab.trial_id": "t'1", "stridelab.sweep_id": "s 1"}
    first = store.create_run("a", identity=identity)
    other = store.create_run("b", identity={**identity, "stridelab.trial_id": "t2"})
    store.finish(first, "FAILED")
    again = store.create_run("a", identity=identity)
    assert again == first != other
    assert site.run(first).info.status == "RUNNING"
    assert set(store.running({"stridelab.sweep_id": "s 1"})) == {first, other}


def test_finish_takes_final_states_only(store):
    with pytest.raises(ValueError, match="RUNNING"):
        store.finish("x", "RUNNING")


def test_a_refused_record_does_not_stop_the_caller(site, store, caplog):
    store.log_metrics("0" * 32, {"episode/return": 1.0}, 1)
    assert store.pending == 0
    assert "refused" in caplog.text
    assert (site.folder / "spool" / "rejected.jsonl").exists()
    assert store.run_status("0" * 32) is None


def test_a_deleted_experiment_is_a_user_error(site):
    experiment_id = site.open("gone").experiment_id()
    site.client.delete_experiment(experiment_id)
    with pytest.raises(UserError, match=f"deleted in MLflow.*-x {experiment_id}"):
        site.open("gone")


def test_two_stores_share_an_experiment(site, store):
    assert site.open("store").experiment_id() == store.experiment_id()


def go_away(patch, store):
    """Make every request of ``store`` fail as with a server that is down."""

    def fail(*args, **kwargs):
        raise ConnectionError("refused")

    patch.setattr("stridelab.tracking.outbox._RETRY_DELAYS_S", ())
    for name in ("search_runs", "create_run", "log_batch", "log_text", "log_artifact"):
        patch.setattr(store._client, name, fail)


class TestServerAway:
    def test_records_of_a_dead_process_are_sent_by_the_next(self, site, monkeypatch, tmp_path):
        store = site.open("away")
        with monkeypatch.context() as patch:
            go_away(patch, store)
            parent = store.create_run("sweep")
            run_id = store.create_run("trial", {"a": "1"}, parent_run_id=parent)
            assert run_id == store.resolve(run_id)
            assert store.run_status(run_id) is None
            store.log_params(run_id, {"x": 1})
            for step in (1, 2, 3):
                store.log_metrics(run_id, {"episode/return": step / 2}, step)
            file = tmp_path / "video.mp4"
            file.write_text("film")
            store.log_artifact(run_id, file, "videos")
            file.unlink()  # the spool has its own copy
            store.finish(run_id, "FINISHED")
        assert site.runs("away") == []
        store._outbox.spool._file.close()  # the process dies without a goodbye

        successor = site.open("away")
        successor.close()  # opening alone sends for two seconds
        assert successor.pending == 0
        runs = {run.info.run_name: run for run in site.runs("away")}
        trial = runs["trial"]
        assert set(runs) == {"sweep", "trial"}
        assert trial.info.status == "FINISHED"
        assert trial.data.params == {"x": "1"}
        assert trial.data.tags["mlflow.parentRunId"] == runs["sweep"].info.run_id
        found = site.history(trial.info.run_id, "episode/return")
        assert found == [(1, 0.5), (2, 1.0), (3, 1.5)]
        copied = site.folder / "artifacts" / trial.info.run_id / "artifacts/videos/video.mp4"
        assert copied.read_text() == "film"
        assert list((site.folder / "spool").glob("files/*")) == []

    def test_a_stand_in_id_works_before_and_after_the_server_is_back(self, site, monkeypatch):
        store = site.open("stand-in")
        with monkeypatch.context() as patch:
            go_away(patch, store)
            run_id = store.create_run("late")
        store.close()  # sends at once, whatever the pause
        assert store.resolve(run_id) != run_id
        store.log_metrics(run_id, {"episode/return": 1.0}, 5)
        store.finish(run_id, "FINISHED")
        assert site.history(store.resolve(run_id), "episode/return") == [(5, 1.0)]
        assert store.run_status(run_id) == "FINISHED"

    def test_sending_twice_leaves_one_of_everything(self, site):
        store = site.open("twice")
        create = {"op": "create", "run": "local-1", "name": "r", "tags": {}, "parent": None}
        create |= {"identity": {"stridelab.run_key": "local-1"}, "time": 1000}
        metrics = {"op": "batch", "run": "local-1", "metrics": {"loss/total": 1.5}}
        metrics |= {"step": 3, "time": 2000}
        params = {"op": "batch", "run": "local-1", "params": {"x": "1"}}
        for record in (create, metrics, params) * 2:
            store._outbox.send(record)
        later = [{**metrics, "metrics": {"loss/total": 2.5}, "step": step} for step in (4, 5)]
        store._execute([metrics, params, later[0]])  # as a replay that was cut
        store._execute([metrics, params, *later])
        (run,) = site.runs("twice")
        assert run.data.params == {"x": "1"}
        assert run.data.metrics == {"loss/total": 2.5}
        history = site.history(run.info.run_id, "loss/total")
        assert history == [(3, 1.5), (4, 2.5), (5, 2.5)]


def test_a_model_is_registered_once_for_a_run(site, store, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    runs = [store.create_run(f"run {index}") for index in range(2)]
    for run_id in (*runs, runs[1]):  # the last one again, as when a spooled record is replayed
        store.log_artifact(run_id, folder, "model")
        store.register_model(run_id, "walk", {"stridelab.score": 0.5})
    versions = site.client.search_model_versions("name = 'walk'")
    assert {version.run_id for version in versions} == set(runs)
    assert len(versions) == 2
    assert {version.tags["stridelab.score"] for version in versions} == {"0.5"}
    assert not store.pending
