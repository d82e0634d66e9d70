"""Tasks by name: the built-in ones, and those of installed packages.

A package adds tasks by entry points of the group ``stridelab.tasks``: the name is the task's id,
the value a function that returns a :class:`TaskConfig`.
"""

from __future__ import annotations

from collections.abc import Callable

from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.errors import UserError
from stridelab_envs.plugins import Registry
from stridelab_envs.tasks.biped_walk import biped_walk
from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.h1_reach import h1_reach
from stridelab_envs.tasks.h1_squat import h1_squat
from stridelab_envs.tasks.h1_step import h1_step
from stridelab_envs.tasks.h1_walk import h1_walk
from stridelab_envs.tasks.manipulation import (
    h1_ball,
    h1_box,
    h1_button,
    h1_cabinet,
    h1_carry,
    h1_lift,
    h1_multitask,
    h1_reach_task,
    h1_transfer,
)
from stridelab_envs.tasks.x1_walk import x1_walk

TaskFactory = Callable[[], TaskConfig]

_tasks: Registry[TaskFactory] = Registry("task", "stridelab.tasks")


def register_task(task_id: str, factory: TaskFactory) -> None:
    """Make a task known under ``task_id``.

    Raises:
        ValueError: If the name is taken.
    """
    _tasks.register(task_id, factory)


def task_ids() -> list[str]:
    """Return the names of all tasks, sorted."""
    return _tasks.names()


def find_factory(task_id: str) -> TaskFactory:
    """Return the function that makes a task.

    Raises:
        ConfigError: If there is no such task; the message names the nearest and all known ones.
    """
    return _tasks.find(task_id, "id")


def get_task(task_id: str) -> TaskConfig:
    """Return the config of a task.

    Raises:
        ConfigError: If there is no such task; the message names the nearest and all known ones.
        UserError: If an installed package offers something else than a task of this id.
    """
    factory = find_factory(task_id)
    task = factory() if callable(factory) else factory
    if not isinstance(task, TaskConfig) or task.id != task_id:
        offered = task.id if isinstance(task, TaskConfig) else type(task).__name__
        raise UserError(
            f'task "{task_id}" of {_tasks.origin(task_id)} must be a function that returns a '
            f'TaskConfig with id="{task_id}", got {offered}'
        )
    return task


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


for _factory in (
    biped_walk,
    h1_walk,
    h1_reach,
    h1_squat,
    h1_step,
    h1_reach_task,
    h1_button,
    h1_cabinet,
    h1_ball,
    h1_box,
    h1_transfer,
    h1_lift,
    h1_carry,
    h1_multitask,
    x1_walk,
):
    register_task(_factory().id, _factory)
