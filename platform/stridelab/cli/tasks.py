"""``stridelab tasks``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from stridelab.cli.console import print_json, stderr, stdout
from stridelab_envs.errors import UserError


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tasks with robot, sizes, control rate and rewards; --json names every term."""
    from stridelab_envs.registry import task_ids

    records, problems = [], []
    for task_id in task_ids():
        try:
            records.append(_describe(task_id))
        except UserError as error:  # of an installed package: the others can be used
            problems.append(str(error))
    if as_json:
        print_json(records)
    else:
        stdout.print(_table(records))
    for problem in problems:
        stderr.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _table(records: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold", pad_edge=False)
    table.add_column("task", no_wrap=True)
    for title in ("robot", "observations", "actions", "rate", "rewards", "presets"):
        table.add_column(title)
    for record in records:
        sizes = ", ".join(f"{group} {size}" for group, size in record["observations"].items())
        table.add_row(
            record["id"],
            record["robot"],
            sizes,
            str(record["actions"]),
            f"{record['control_rate_hz']:g} Hz",
            f"{len(record['rewards'])} terms",
            ", ".join(record["reward_presets"]),
        )
    return table


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
