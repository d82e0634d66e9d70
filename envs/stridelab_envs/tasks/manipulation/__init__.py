"""The H1's manipulation tasks: eight, and all of them in one."""

from stridelab_envs.tasks.manipulation.ball import h1_ball
from stridelab_envs.tasks.manipulation.button import h1_button
from stridelab_envs.tasks.manipulation.cabinet import h1_cabinet
from stridelab_envs.tasks.manipulation.cube import h1_box, h1_transfer
from stridelab_envs.tasks.manipulation.multitask import h1_multitask
from stridelab_envs.tasks.manipulation.panel import h1_carry, h1_lift
from stridelab_envs.tasks.manipulation.reach import h1_reach_task

__all__ = [
    "h1_ball",
    "h1_box",
    "h1_button",
    "h1_cabinet",
    "h1_carry",
    "h1_lift",
    "h1_multitask",
    "h1_reach_task",
    "h1_transfer",
]
