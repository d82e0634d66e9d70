"""``stridelab takeover``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TextColumn

from stridelab.cli.console import stderr, stdout


def command(
    settings: Annotated[Path, typer.Argument(help="Skills, teacher and students (YAML).")],
    out: Annotated[Path, typer.Option(help="Folder for a bundle of each student.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of environments and chance.")] = 0,
) -> None:
    """Teach skills to take over from one another."""
    from stridelab.skills.takeover import Takeover, load_settings

    content, skills = load_settings(settings)
    lesson = Takeover(content, skills, seed=seed)
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[errors]}"))
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task("teaching", total=content.env_steps, errors="")

        def on_round(env_steps: int, errors: dict[str, float]) -> None:
            text = "  ".join(f"{name} {error:.4f}" for name, error in errors.items())
            progress.update(bar, completed=env_steps, errors=text)

        lesson.run(on_round)
    for folder in lesson.save(out):
        stdout.print(str(folder), soft_wrap=True, highlight=False)
