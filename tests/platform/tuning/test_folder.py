"""Folders of studies: names, the record in them, and what resuming refuses."""

import json

import pytest

from stridelab.experiment import parse_experiment
from stridelab.tuning.folder import create, reopen
from stridelab_envs.errors import UserError


@pytest.fixture
def named(tiny_tree, tmp_path):
    def build(name, **train):
        tree = {**tiny_tree, "name": name, "resources": {"storage_path": str(tmp_path)}}
        return parse_experiment({**tree, "train": {**tree["train"], **train}})

    return build


def test_the_newest_of_several_is_reopened(named):
    made = [create(named("walk")) for _ in range(3)]
    assert [study.path.name for study in made] == ["walk", "walk@2", "walk@3"]
    assert len({study.sweep_id for study in made}) == 3
    assert reopen(named("walk")) == made[2]


def test_no_experiment_shares_a_folder_with_another(named):
    for name in ("walk", "walk-2", "walk.2", "walk_2"):
        assert create(named(name)).path.name == name
    assert reopen(named("walk")).path.name == "walk"
    second = create(named("walk"))
    with pytest.raises(ValueError, match="name"):  # no experiment can be called like it
        named(second.path.name)


def test_nothing_to_resume(named, tmp_path):
    with pytest.raises(UserError, match='there is no study "walk" to resume'):
        reopen(named("walk"))
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused_with_the_key(named):
    create(named("walk", checkpoint_every=7))
    with pytest.raises(UserError, match=r"train\.checkpoint_every \(7, now 9\)") as error:
        reopen(named("walk", checkpoint_every=9))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"sweep_id": "a"})])
def test_a_damaged_record_is_one_line(named, text):
    study = create(named("walk"))
    (study.path / "study.json").write_text(text)
    with pytest.raises(UserError, match="start the study again"):
        reopen(named("walk"))
