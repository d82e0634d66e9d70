"""Reading runs from the store into groups."""

import numpy as np
import pytest

from stridelab.compare import collect as module
from stridelab.compare.collect import collect
from stridelab.tracking import callback
from stridelab_envs.errors import UserError


def labels(collection):
    return [group.label for group in collection.groups]


def test_tags_are_those_that_the_callback_writes():
    assert (module.STUDY_TAG, module.KIND_TAG) == (callback.SWEEP_TAG, callback.KIND_TAG)


def test_seeds_of_a_configuration_stand_together(studies):
    collection = collect(studies.uri, [studies.parent], "episode/return")
    assert labels(collection) == ["baseline", "rewards=v6", "rewards=v7"]
    assert [len(group.runs) for group in collection.groups] == [4, 4, 3]
    assert [group.is_baseline for group in collection.groups] == [True, False, False]
    v6 = collection.groups[1]
    np.testing.assert_array_equal(v6.scores, [2.0, 4.0, 6.0, 100.0])
    assert [run.seed for run in v6.runs] == ["0", "1", "2", "3"]
    assert {run.run_id for run in v6.runs} == set(studies.ids[4:8])


def test_history_has_steps_training_time_and_values(studies):
    history = collect(studies.uri, [studies.ids[0]], "episode/return").groups[0].runs[0].history
    np.testing.assert_array_equal(history.steps, [100, 200, 300])
    np.testing.assert_array_equal(history.seconds, [1, 2, 3])
    np.testing.assert_array_equal(history.values, [0, 0.5, 1])


def test_time_since_the_start_stands_in_for_training_time(studies):
    run = collect(studies.uri, [studies.ids[0]], "episode/return").groups[0].runs[0]
    site = module._Reader(studies.uri, None, lambda text: None)
    [found] = site.find(run.run_id)
    client = module.connect(studies.uri)
    made = client.create_run(client.get_run(run.run_id).info.experiment_id, start_time=5_000)
    try:
        client.log_metric(made.info.run_id, "x", 1.0, timestamp=8_000, step=10)
        record = type(found.record)(made.info.run_id, "", "FINISHED", {}, {}, {"x": 1.0}, None, 5.0)
        np.testing.assert_array_equal(site.history(record, "x").seconds, [3.0])
    finally:
        client.delete_run(made.info.run_id)


def test_experiment_puts_its_studies_side_by_side(studies):
    collection = collect(studies.uri, ["versions"], "episode/return")
    assert labels(collection) == [
        "versions: baseline",
        "versions: rewards=v6",
        "versions: rewards=v7",
        "again",
    ]
    assert not collection.groups[-1].is_baseline  # nothing to be the baseline of
    assert "1 of 14 runs have not finished (1 FAILED)." in collection.notes


def test_study_run_and_experiment_are_targets_and_no_run_counts_twice(studies):
    collection = collect(studies.uri, ["again", studies.ids[0], "again"], "episode/return")
    assert collection.title == f"again, {studies.ids[0]}, again"
    assert sum(len(group.runs) for group in collection.groups) == 3
    both = collect(studies.uri, ["versions", "grid"], "episode/return")
    assert {group.experiment for group in both.groups} == {"versions", "grid"}


def test_without_a_target_the_experiment_that_ran_last(studies):
    collection = collect(studies.uri, [], "episode/return")
    assert collection.title == "grid"
    assert len(collection.groups) == 12


def test_metrics_of_the_end_are_drawn_by_what_was_logged_all_along(studies):
    collection = collect(studies.uri, ["again"], "eval/survival_rate")
    assert collection.curve_metric == "episode/return"
    assert "eval/survival_rate is measured at the end only: curves show episode/return." in (
        collection.notes
    )
    np.testing.assert_array_equal(collection.groups[0].scores, [0.01, 0.02])


def test_runs_with_other_settings_in_one_group_are_named(studies, monkeypatch):
    trials = [("x=1", seed, {"a": seed, "b": 1}, [(10, 1.0, 1.0)], {}) for seed in (0, 1)]
    parent, _ = studies.study("mixed", "mixed", trials)
    try:
        collection = collect(studies.uri, [parent], "episode/return")
        assert collection.notes == ("Runs of x=1 differ in a.",)
    finally:
        client = module.connect(studies.uri)
        client.delete_experiment(client.get_experiment_by_name("mixed").experiment_id)


@pytest.mark.parametrize(
    ("targets", "metric", "message"),
    [
        (["versionz"], "episode/return", 'unknown experiment, study or run "versionz"; did you'),
        (["grid", "0" * 32], "episode/return", f'unknown experiment, study or run "{"0" * 32}"'),
        (["empty"], "episode/return", r"empty: no finished runs \(1 RUNNING\)"),
        (["Default"], "episode/return", 'experiment "Default" has no runs'),
        (["grid"], "episode/returns", 'unknown metric "episode/returns"; did you mean "epi'),
        (["grid"], "eval/survival_rate", 'unknown metric "eval/survival_rate"'),
    ],
)
def test_mistakes_are_one_line(studies, targets, metric, message):
    with pytest.raises(UserError, match=message) as caught:
        collect(studies.uri, targets, metric)
    assert "\n" not in str(caught.value)


def test_no_store_is_made_by_looking(tmp_path):
    with pytest.raises(UserError, match="no runs yet"):
        collect(f"sqlite:///{tmp_path}/mlflow.db", ["walk"], "episode/return")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="tracking uri"):
        collect("nonsense://x", ["walk"], "episode/return")
