"""``stridelab tasks``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from stridelab.cli.console import print_json, stdout


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tasks with robot, sizes, control rate and reward terms."""
    from stridelab_envs.registry import task_ids

    records = [_describe(task_id) for task_id in task_ids()]
    if as_json:
        print_json(records)
        return
    table = Table("task", "robot", "observations", "actions", "rate", "rewards", "presets")
    for record in records:
        sizes = ", ".join(f"{group} {size}" for group, size in record["observations"].items())
        table.add_row(
            record["id"],
            record["robot"],
            sizes,
            str(record["actions"]),
            f"{record['control_rate_hz']:g} Hz",
            ", ".join(record["rewards"]),
            ", ".join(record["reward_presets"]),
        )
    stdout.print(table)


def _describe(task_id: str) -> dict[str, Any]:
    from stridelab_envs.registry import get_task, make_env

    task = get_task(task_id)
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    return {
        "id": task.id,
        "description": task.description,
        "robot": task.robot,
        "observations": env.observation_sizes,
        "actions": env.action_dim,
        "control_rate_hz": 1.0 / task.control_dt,
        "rewards": task.reward_weights(),
        "reward_presets": sorted(task.reward_presets),
    }
