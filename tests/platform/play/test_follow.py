"""Newer checkpoints of a running training."""

import os
import shutil

import pytest

from stridelab.play import follow
from stridelab.play.follow import Follower
from stridelab_envs.errors import UserError


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(follow, "_PERIOD_S", 0.0)


def age(folder, seconds):
    """Let a checkpoint have been written so long ago."""
    record = folder / "trial.json"
    now = record.stat().st_mtime
    os.utime(record, (now - seconds, now - seconds))


def test_it_takes_the_newest_and_what_comes_after(tmp_path, write_checkpoint):
    trial = tmp_path / "study" / "seed=0"
    age(write_checkpoint(trial / "checkpoint_000000", 100), 20)
    age(write_checkpoint(trial / "checkpoint_000001", 200), 10)
    follower = Follower(tmp_path / "study")
    assert follower.policy.description["env_steps"] == 200
    assert follower.newer() is None
    write_checkpoint(trial / "checkpoint_000002", 300)
    newer = follower.newer()
    assert newer.description["env_steps"] == 300
    assert follower.policy is newer
    assert follower.checkpoint == trial / "checkpoint_000002"
    assert follower.newer() is None


def test_it_stays_with_one_trial(tmp_path, write_checkpoint):
    age(write_checkpoint(tmp_path / "seed=0" / "checkpoint_000000", 100), 10)
    follower = Follower(tmp_path)
    write_checkpoint(tmp_path / "seed=1" / "checkpoint_000000", 150)
    assert follower.newer() is None


def test_half_a_checkpoint_is_none(tmp_path, write_checkpoint):
    age(write_checkpoint(tmp_path / "checkpoint_000000", 100), 10)
    follower = Follower(tmp_path)
    half = write_checkpoint(tmp_path / "checkpoint_000001", 200)
    weights = half / "policy" / "policy.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert follower.newer() is None
    weights.write_bytes(whole)
    assert follower.newer().description["env_steps"] == 200


def test_a_checkpoint_deleted_while_it_is_read_is_passed_over(
    tmp_path, write_checkpoint, monkeypatch
):
    age(write_checkpoint(tmp_path / "checkpoint_000000", 100), 10)
    follower = Follower(tmp_path)
    write_checkpoint(tmp_path / "checkpoint_000001", 200)
    found = follow.newest_whole

    def then_delete(folder):
        newest = found(folder)
        shutil.rmtree(newest)
        return newest

    monkeypatch.setattr(follow, "newest_whole", then_delete)
    assert follower.newer() is None
    assert follower.policy.description["env_steps"] == 100


def test_it_looks_only_now_and_then(tmp_path, write_checkpoint, monkeypatch):
    monkeypatch.setattr(follow, "_PERIOD_S", 1e6)
    age(write_checkpoint(tmp_path / "checkpoint_000000", 100), 10)
    follower = Follower(tmp_path)
    write_checkpoint(tmp_path / "checkpoint_000001", 200)
    assert follower.newer() is None


@pytest.mark.parametrize("make", [True, False])
def test_nothing_to_follow_is_said_in_one_line(tmp_path, make):
    folder = tmp_path / "study"
    if make:
        folder.mkdir()
    with pytest.raises(UserError, match="holds no whole checkpoint yet"):
        Follower(folder)
