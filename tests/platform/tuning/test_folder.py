"""Folders of studies: names, the record in them, and what resuming refuses."""

import json

import pytest

from stridelab.experiment import parse_experiment
from stridelab.tuning.folder import create_study, existing_study
from stridelab_envs.errors import UserError


@pytest.fixture
def named(tiny_tree, tmp_path):
    def build(name, *, resources=None, on_existing="restart", description="", **train):
        tree = {**tiny_tree, "name": name, "on_existing": on_existing, "description": description}
        tree["resources"] = {"storage_path": str(tmp_path), **(resources or {})}
        return parse_experiment({**tree, "train": {**tree["train"], **train}})

    return build


def reopen(experiment):
    return existing_study(experiment, resume=True)


def test_the_newest_of_several_is_reopened(named):
    made = [create_study(named("walk")) for _ in range(3)]
    assert [study.name for study in made] == ["walk", "walk@2", "walk@3"]
    assert len({study.sweep_id for study in made}) == 3
    assert reopen(named("walk")) == made[2]


def test_no_experiment_shares_a_folder_with_another(named):
    for name in ("walk", "walk-2", "walk.2", "walk_2"):
        assert create_study(named(name)).name == name
    assert reopen(named("walk")).name == "walk"
    second = create_study(named("walk"))
    with pytest.raises(ValueError, match="name"):  # no experiment can be called like it
        named(second.name)


def test_nothing_to_resume(named, tmp_path):
    with pytest.raises(UserError, match='there is no study "walk" to resume'):
        reopen(named("walk"))
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused_with_the_key(named):
    create_study(named("walk", checkpoint_every=7))
    with pytest.raises(UserError, match=r"train\.checkpoint_every \(7, now 9\)") as error:
        reopen(named("walk", checkpoint_every=9))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"sweep_id": "a"})])
def test_a_damaged_record_is_one_line(named, text):
    study = create_study(named("walk"))
    study.folder.write_text("study.json", text)
    with pytest.raises(UserError, match="start the study again"):
        reopen(named("walk"))


class TestOnExisting:
    def test_restart_begins_another_one_beside_it(self, named):
        create_study(named("walk"))
        assert existing_study(named("walk"), resume=False) is None
        assert create_study(named("walk")).name == "walk@2"

    def test_resume_goes_on_where_there_is_one(self, named):
        wanted = named("walk", on_existing="resume")
        assert existing_study(wanted, resume=False) is None
        made = create_study(named("walk"))
        assert existing_study(wanted, resume=False) == made

    def test_refuse(self, named):
        wanted = named("walk", on_existing="refuse")
        assert existing_study(wanted, resume=False) is None
        made = create_study(wanted)
        with pytest.raises(UserError, match="is there already, and on_existing is refuse") as error:
            existing_study(wanted, resume=False)
        assert "\n" not in str(error.value)
        # Asked for by the command line, it goes on all the same.
        assert existing_study(wanted, resume=True) == made


def test_what_does_not_change_the_learning_may_change_on_resuming(named):
    made = create_study(named("walk", resources={"env_runners": 4}))
    changed = named(
        "walk", resources={"env_runners": 0, "time_budget": "2h"}, description="fewer machines"
    )
    assert reopen(changed) == made


def test_a_record_of_an_older_version_lacks_new_keys(named):
    """Their defaults are what it was started with."""
    made = create_study(named("walk"))
    record = json.loads(made.folder.read_text("study.json"))
    del record["experiment"]["stages"], record["experiment"]["on_existing"]
    made.folder.write_text("study.json", json.dumps(record))
    assert reopen(named("walk")) == made
