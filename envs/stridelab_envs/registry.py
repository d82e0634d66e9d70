"""Tasks by name: the built-in ones, and those of installed packages.

A package adds tasks by an entry point of the group ``stridelab.tasks`` whose name is the task's id
and whose value is a function that returns a :class:`TaskConfig`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import ConfigError, unknown_name
from stridelab_envs.tasks.biped_walk import biped_walk
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.h1_reach import h1_reach
from stridelab_envs.tasks.h1_squat import h1_squat
from stridelab_envs.tasks.h1_step import h1_step
from stridelab_envs.tasks.h1_walk import h1_walk
from stridelab_envs.tasks.x1_walk import x1_walk

TaskFactory = Callable[[], TaskConfig]

_tasks: dict[str, TaskFactory] = {}
_entry_points_read = False


def register_task(task_id: str, factory: TaskFactory) -> None:
    """Make a task known under ``task_id``.

    Raises:
        ValueError: If the name is taken.
    """
    if task_id in _tasks:
        raise ValueError(f'a task called "{task_id}" is registered already')
    _tasks[task_id] = factory


def _known_tasks() -> dict[str, TaskFactory]:
    global _entry_points_read
    if not _entry_points_read:
        _entry_points_read = True
        for entry in entry_points(group="stridelab.tasks"):
            register_task(entry.name, entry.load())
    return _tasks


def task_ids() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(_known_tasks())


def get_task(task_id: str) -> TaskConfig:
    """Return the config of a task.

    Raises:
        ConfigError: If there is no such task; the message names the nearest and all known ones.
    """
    tasks = _known_tasks()
    if task_id not in tasks:
        raise ConfigError("id", unknown_name("task", task_id, tasks))
    return tasks[task_id]()


def make_env(
    config: TaskConfig,
    *,
    num_envs: int,
    seed: int,
    num_threads: int = 0,
    stack_history: bool = True,
) -> BatchEnv:
    """Build ``num_envs`` environments of a task; arguments as of :class:`BatchEnv`."""
    return BatchEnv(
        config,
        num_envs=num_envs,
        seed=seed,
        num_threads=num_threads,
        stack_history=stack_history,
    )


for _factory in (biped_walk, h1_walk, h1_reach, h1_squat, h1_step, x1_walk):
    register_task(_factory().id, _factory)
