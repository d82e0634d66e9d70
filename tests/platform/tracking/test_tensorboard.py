"""Runs as TensorBoard event files."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event

from stridelab.tracking.tensorboard import export_runs
from stridelab_envs.errors import UserError


def scalars(folder):
    """Read ``(tag, step, value)`` of every scalar of the event file in a folder."""
    [file] = folder.iterdir()
    data, found = file.read_bytes(), []
    while data:  # records: length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[12 + length + 4 :]
        found += [
            (value.tag, event.step, value.simple_value)
            for value in event.summary.value
            if value.HasField("simple_value")
        ]
    return found


@pytest.fixture(scope="module")
def run_ids(site):
    store = site.open("board")
    parent = store.create_run("sweep", {"stridelab.kind": "sweep"})
    made = []
    for seed in (0, 1):
        run_id = store.create_run(
            f"rewards=v7 lr=1e-3/{seed}", {"stridelab.kind": "trial"}, parent_run_id=parent
        )
        store.log_params(run_id, {"algorithm.gamma": 0.9, "seed": seed})
        for step in (128, 256):
            store.log_metrics(run_id, {"episode/return": step + seed, "loss/total": 0.5}, step)
        store.finish(run_id, "FINISHED")
        made.append(run_id)
    return made


def test_every_trial_of_an_experiment(site, run_ids, tmp_path):
    seen = []
    folders = export_runs(site.uri, ["board"], tmp_path / "logs", on_run=seen.append)
    assert seen == ["rewards=v7 lr=1e-3/0", "rewards=v7 lr=1e-3/1"]
    assert [folder.name for folder in folders] == [
        f"rewards=v7_lr=1e-3_{seed}-{run_id[:8]}" for seed, run_id in enumerate(run_ids)
    ]
    assert scalars(folders[1]) == [
        ("episode/return", 128, 129.0),
        ("episode/return", 256, 257.0),
        ("loss/total", 128, 0.5),
        ("loss/total", 256, 0.5),
    ]


def test_one_run_again_replaces_it(site, run_ids, tmp_path):
    first = export_runs(site.uri, [run_ids[0]], tmp_path)
    assert export_runs(site.uri, [run_ids[0]], tmp_path) == first
    assert len(scalars(first[0])) == 4
    assert list(tmp_path.iterdir()) == first


def test_unknown_targets(site, run_ids, tmp_path):
    with pytest.raises(UserError, match='did you mean "board"'):
        export_runs(site.uri, ["baord"], tmp_path / "logs")
    with pytest.raises(UserError, match="not found"):
        export_runs(site.uri, ["0" * 32], tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
