"""A study's state survives a kill while Tune writes it."""

import json
import os
import pickle
from types import SimpleNamespace

import pytest

from stridelab.tuning import snapshots
from stridelab.tuning.snapshots import SnapshotKeeper, mend
from stridelab.tuning.storage import open_storage

SESSION = "2026-01-02_03-04-05"
STATE, CALLBACKS = f"experiment_state-{SESSION}.json", f"callback-states-{SESSION}.pkl"


@pytest.fixture
def study(tmp_path):
    return open_storage(str(tmp_path / "studies" / "walk"))


@pytest.fixture
def staging(tmp_path):
    place = tmp_path / "staging"
    (place / "trial").mkdir(parents=True)
    (place / STATE).write_text(json.dumps({"trials": [1]}))
    (place / CALLBACKS).write_bytes(pickle.dumps({"run": "a"}))
    return place


def step(keeper, staging):
    storage = SimpleNamespace(experiment_driver_staging_path=str(staging))
    keeper.on_step_end(1, [SimpleNamespace(storage=storage)])


@pytest.mark.parametrize("broken", [STATE, CALLBACKS])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_half_written_state_is_replaced_by_the_copy(study, staging, broken, share):
    step(SnapshotKeeper(study), staging)
    for name in (STATE, CALLBACKS):
        content = (staging / name).read_bytes()
        (study.local / name).write_bytes(content[: int(share * len(content))])
        if name != broken:
            (study.local / name).write_bytes(content)
    mend(study)
    for name in (STATE, CALLBACKS):
        assert (study.local / name).read_bytes() == (staging / name).read_bytes()


def test_a_whole_state_stays_as_it_is(study, staging):
    step(SnapshotKeeper(study), staging)
    (study.local / STATE).write_text(json.dumps({"trials": [1, 2]}))
    (study.local / CALLBACKS).write_bytes(pickle.dumps({"run": "b"}))
    mend(study)
    assert json.loads((study.local / STATE).read_text()) == {"trials": [1, 2]}
    assert pickle.loads((study.local / CALLBACKS).read_bytes()) == {"run": "b"}


def test_a_state_that_was_never_uploaded_comes_from_the_copy(study, staging):
    step(SnapshotKeeper(study), staging)
    mend(study)
    assert json.loads((study.local / STATE).read_text()) == {"trials": [1]}


def test_no_study_no_state(study):
    mend(study)
    assert not study.exists()
    SnapshotKeeper(study).on_step_end(1, [])
    assert not study.exists()


def test_copies_are_made_of_what_is_new_and_not_too_often(study, staging, monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: now.time)
    written = []
    monkeypatch.setattr(type(study), "write_text", lambda self, file, text: written.append(file))
    keeper = SnapshotKeeper(study)
    for at, touched, copies in ((100, 1, 1), (105, 2, 1), (111, 2, 2), (130, 2, 2), (131, 3, 3)):
        now.time = float(at)
        os.utime(staging / STATE, ns=(touched, touched))
        step(keeper, staging)
        assert len(written) == copies, at
