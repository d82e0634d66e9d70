"""``stridelab check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stridelab.cli.console import print_json, stderr, stdout
from stridelab.cli.study import OverridesArgument

if TYPE_CHECKING:
    from stridelab_envs.tasks.config import TaskConfig


def command(
    task: Annotated[str, typer.Argument(help="Id of a task, or an experiment file (YAML).")],
    overrides: OverridesArgument = None,
    num_envs: Annotated[int, typer.Option(min=2, help="Environments of each probe.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each probe [s].")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find out whether a task is fit to be learned; exit code 1 if something is wrong."""
    config = _config(task, overrides or [])
    from stridelab.evaluation.check_tables import tables
    from stridelab_envs.check import check_task

    with stderr.status(f"checking {config.id}"):
        report = check_task(config, num_envs=num_envs, seconds=seconds, seed=seed)
    if as_json:
        print_json(report.record())
    else:
        stdout.print(tables(report))
    if report.errors or (strict and report.warnings):
        raise typer.Exit(1)


def _config(task: str, overrides: list[str]) -> TaskConfig:
    """Return the task of an experiment file, or the one with this id, with changes."""
    from stridelab.experiment import load_experiment, parse_experiment
    from stridelab.experiment.overrides import apply_override

    if Path(task).suffix in (".yaml", ".yml"):
        return load_experiment(task, overrides).task_config()
    tree = {"name": "check", "task": {"id": task}, "train": {"env_steps": 1}}
    places: dict[str, str] = {}
    for text in overrides:
        apply_override(tree, places, text)
    return parse_experiment(tree, places).task_config()
