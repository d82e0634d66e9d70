"""``stridelab new``: robot, task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.console import stderr, stdout

app = typer.Typer(help="Write a new package with a robot or a task.", no_args_is_help=True)

OutputOption = Annotated[
    Path, typer.Option("--output", help="Folder to make the package's folder in.")
]


@app.command()
def robot(
    name: Annotated[str, typer.Argument(help="Name of the robot.")],
    model: Annotated[Path, typer.Option("--from", help="MJCF or URDF file of the robot.")],
    feet: Annotated[
        str, typer.Option(help="Bodies of the feet, left before right, with commas between.")
    ] = "",
    output: OutputOption = Path(),
) -> None:
    """Write a package with a robot read from a model: joints, limits, gains, feet, height."""
    from stridelab.scaffold.package import new_robot

    made = new_robot(name, model, output, [foot for foot in feet.split(",") if foot])
    draft = made.draft
    _say(f"{name}: {draft.mass:.4g} kg, {len(draft.joints)} joints, feet {', '.join(draft.feet)}")
    for note in draft.notes:
        _say(f"- {note}")
    fell = made.standing.fell_after
    held = "stands" if fell is None else f"falls after {fell:.2g} s"
    _say(f"- Standing height {draft.home_height:.4f} m; holding its default pose it {held}.")
    for problem in made.problems:
        stderr.print(f"! {problem}", style="yellow", markup=False, soft_wrap=True)
    stdout.print(str(made.folder), soft_wrap=True, highlight=False, markup=False)


@app.command()
def task(
    name: Annotated[str, typer.Argument(help="Id of the task.")],
    robot: Annotated[str, typer.Option(help="Name of a robot.")],
    output: OutputOption = Path(),
) -> None:
    """Write a package with a task and a reward term for a robot."""
    from stridelab.scaffold.package import new_task

    folder = new_task(name, robot, output)
    stdout.print(str(folder), soft_wrap=True, highlight=False, markup=False)


def _say(text: str) -> None:
    stderr.print(text, highlight=False, markup=False, soft_wrap=True)
