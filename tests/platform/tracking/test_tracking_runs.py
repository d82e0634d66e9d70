import numpy as np
import pytest

from stridelab.tracking import runs
from stridelab.tracking.runs import download_artifacts, find_runs, get_run, metric_history
from stridelab_envs.errors import UserError


@pytest.fixture(scope="module")
def run_id(site):
    store = site.open("read")
    parent = store.create_run("sweep", {"stridelab.kind": "sweep"})
    run_id = store.create_run("trial", {"stridelab.kind": "trial"}, parent_run_id=parent)
    store.log_params(run_id, {"x": 1})
    for step in (10, 20, 30):
        store.log_metrics(run_id, {"episode/return": step / 10}, step)
    store.log_text(run_id, "{}", "policy/policy.json")
    store.finish(run_id, "FINISHED")
    return run_id


def test_runs_are_found_page_after_page(site, run_id, monkeypatch):
    monkeypatch.setattr(runs, "_PAGE", 1)
    sweep, trial = find_runs(site.uri, "read")
    assert (sweep.name, trial.name) == ("sweep", "trial")
    assert trial.run_id == run_id
    assert trial.parent_run_id == sweep.run_id
    assert trial.params == {"x": "1"}
    assert trial.metrics == {"episode/return": 3.0}
    assert (sweep.status, trial.status) == ("RUNNING", "FINISHED")
    assert sweep.start_time <= trial.start_time
    assert find_runs(site.uri, "read", kind="trial") == [trial] == [get_run(site.uri, run_id)]


def test_history_is_sorted_and_keeps_the_last_value_of_a_step(site, run_id):
    site.client.log_metric(run_id, "episode/return", 9.0, timestamp=4e12, step=20)
    history = metric_history(site.uri, run_id, "episode/return")
    assert history.steps.dtype == np.int64
    np.testing.assert_array_equal(history.steps, [10, 20, 30])
    np.testing.assert_array_equal(history.values, [1.0, 9.0, 3.0])
    assert history.times[1] == 4e9
    assert metric_history(site.uri, run_id, "loss/total").steps.shape == (0,)


def test_artifacts_are_downloaded(site, run_id, tmp_path):
    file = download_artifacts(site.uri, run_id, "policy/policy.json", tmp_path / "new")
    assert file.read_text() == "{}"
    assert (tmp_path / "new") in file.parents
    assert (download_artifacts(site.uri, run_id, "policy") / "policy.json").is_file()


def test_unknown_names_are_user_errors(site, run_id):
    with pytest.raises(UserError, match='did you mean "read"'):
        find_runs(site.uri, "reed")
    with pytest.raises(UserError, match='did you mean "policy"'):
        download_artifacts(site.uri, run_id, "polcy")
    with pytest.raises(UserError, match="not found"):
        get_run(site.uri, "0" * 32)


def test_a_server_that_is_away_is_one_clear_line(monkeypatch):
    with pytest.raises(UserError, match=r"http://\*\*\*@127.0.0.1:9") as caught:
        find_runs("http://me:pw@127.0.0.1:9", "walk")
    assert "\n" not in str(caught.value)
