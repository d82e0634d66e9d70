"""``stridelab distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn

from stridelab.cli.console import stderr, stdout
from stridelab.cli.study import OverridesArgument


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment that names teachers (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the student's bundle.")],
    overrides: OverridesArgument = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of environments and chance.")] = 0,
) -> None:
    """Bring teachers of single tasks together in one policy, by regression alone."""
    from stridelab.experiment.loader import load_experiment
    from stridelab.skills.distill import Distillation

    lesson = Distillation(load_experiment(experiment, overrides or ()), seed=seed)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        total = lesson.experiment.train.env_steps
        bar = progress.add_task("distilling", total=total, loss="")

        def on_round(env_steps: int, loss: float) -> None:
            progress.update(bar, completed=env_steps, loss=f"{loss:.3f} nat")

        lesson.run(on_round)
    lesson.save(out)
    stdout.print(str(out), soft_wrap=True, highlight=False)
