"""``stridelab distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn

from stridelab.cli.console import stderr, stdout
from stridelab.cli.study import OverridesArgument

_LINES = 100
"""Lines of progress at most where standard error is not a terminal."""


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment that names teachers (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for the student's bundle.")],
    overrides: OverridesArgument = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of environments and chance.")] = 0,
) -> None:
    """Bring what teachers and guides know into one policy, by regression alone."""
    from stridelab.experiment.loader import load_experiment
    from stridelab.skills.distill import Distillation

    lesson = Distillation(load_experiment(experiment, overrides or ()), seed=seed)
    total = lesson.experiment.train.env_steps
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task("distilling", total=total, told="")
        lines = 0

        def on_round(env_steps: int, means: dict[str, float]) -> None:
            nonlocal lines
            told = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            progress.update(bar, completed=env_steps, told=told)
            if not stderr.is_terminal and env_steps * _LINES >= lines * total:
                lines += 1
                stderr.print(f"{env_steps:,} of {total:,} env steps  {told}", highlight=False)

        lesson.run(on_round)
    lesson.save(out)
    stdout.print(str(out), soft_wrap=True, highlight=False)
