"""Tasks by name: the built-in ones and those that other packages add."""

from dataclasses import replace

import pytest

from stridelab_envs import plugins, registry
from stridelab_envs.errors import ConfigError, UserError
from stridelab_envs.plugins import Registry
from stridelab_envs.registry import get_task, make_env, register_task, task_ids
from stridelab_envs.tasks.biped_walk import biped_walk
from stridelab_envs.tasks.config import TaskConfig


class Entry:
    """An entry point as ``importlib.metadata`` gives it."""

    dist = None

    def __init__(self, name, factory):
        self.name = name
        self.factory = factory
        self.value = f"acme:{name}"

    def load(self):
        return self.factory


@pytest.fixture
def entries(monkeypatch):
    """Entry points that installed packages would declare; the registry starts afresh."""
    found, groups = [], []

    def entry_points(*, group):
        groups.append(group)
        return found

    tasks = Registry("task", "stridelab.tasks")
    tasks.register("biped_walk", biped_walk)
    monkeypatch.setattr(plugins, "entry_points", entry_points)
    monkeypatch.setattr(registry, "_tasks", tasks)
    yield found
    assert set(groups) <= {"stridelab.tasks"}
    assert len(groups) <= 1  # read once


def hop():
    return replace(biped_walk(), id="hop", episode_length_s=4.0)


def test_built_in_tasks():
    ids = task_ids()
    assert "biped_walk" in ids
    assert ids == sorted(ids)
    for task_id in ids:
        task = get_task(task_id)
        assert isinstance(task, TaskConfig)
        assert task.id == task_id
        assert task.description.endswith(".")


def test_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError) as error:
        get_task("biped_wlk")
    assert error.value.path == "id"
    assert 'unknown task "biped_wlk"; did you mean "biped_walk"?' in error.value.message
    assert error.value.under("task").path == "task.id"
    assert isinstance(error.value, UserError)


def test_a_name_far_off_still_lists_the_known(entries):
    with pytest.raises(ConfigError) as error:
        get_task("zzz")
    assert str(error.value) == 'id: unknown task "zzz" (known: biped_walk)'


def test_register_and_duplicate(entries):
    register_task("hop", hop)
    assert task_ids() == ["biped_walk", "hop"]
    assert get_task("hop").episode_length_s == 4.0
    with pytest.raises(ValueError, match='"hop" is registered already'):
        register_task("hop", biped_walk)
    assert get_task("hop").id == "hop"


def test_tasks_of_an_installed_package(entries):
    entries.append(Entry("hop", hop))
    assert task_ids() == ["biped_walk", "hop"]
    assert get_task("hop").id == "hop"
    assert task_ids() == ["biped_walk", "hop"]


def test_get_task_reads_the_entry_points_too(entries):
    entries.append(Entry("hop", hop))
    assert get_task("hop").episode_length_s == 4.0


def test_an_installed_package_cannot_replace_a_task(entries):
    entries.append(Entry("biped_walk", hop))
    with pytest.raises(ValueError, match='"biped_walk" is registered already'):
        task_ids()


def test_something_else_than_a_task_is_refused(entries):
    entries.append(Entry("hop", biped_walk))  # returns the task biped_walk
    entries.append(Entry("spec", "not a function"))
    with pytest.raises(UserError, match=r'^task "hop" of \(acme:hop\) must .* got biped_walk$'):
        get_task("hop")
    with pytest.raises(UserError, match=r'TaskConfig with id="spec", got str$'):
        get_task("spec")


def test_a_registered_task_can_be_built_and_stepped(entries):
    entries.append(Entry("hop", hop))
    env = make_env(get_task("hop"), num_envs=2, seed=0, num_threads=1)
    assert env.max_episode_steps == 200
    assert env.reset()["policy"].shape == (2, 48)


def test_each_call_returns_an_independent_config():
    first = get_task("biped_walk")
    first.observations["policy"].clear()  # a user's mistake must not reach the next one
    first.rewards.clear()
    assert get_task("biped_walk").observations["policy"]
    assert get_task("biped_walk").rewards["upright"].weight == 2.0
