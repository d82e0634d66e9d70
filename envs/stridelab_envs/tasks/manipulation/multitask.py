"""All eight manipulation tasks: each episode draws one, the policy sees which."""

from __future__ import annotations

from stridelab_envs.tasks.config import TaskConfig
from stridelab_envs.tasks.manipulation.ball import BALL
from stridelab_envs.tasks.manipulation.button import BUTTON
from stridelab_envs.tasks.manipulation.cabinet import CABINET
from stridelab_envs.tasks.manipulation.common import manipulation_task
from stridelab_envs.tasks.manipulation.cube import BOX, TRANSFER
from stridelab_envs.tasks.manipulation.panel import CARRY, LIFT
from stridelab_envs.tasks.manipulation.reach import REACH


def h1_multitask() -> TaskConfig:
    """Return the task ``h1_multitask``."""
    return manipulation_task(
        "h1_multitask",
        "Humanoid: one of eight manipulation tasks in each episode.",
        [REACH, BUTTON, CABINET, BALL, BOX, TRANSFER, LIFT, CARRY],
    )
