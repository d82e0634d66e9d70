"""``stridelab chain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from stridelab.cli.console import print_json, stdout


def command(
    skills: Annotated[Path, typer.Argument(help="Skills file (YAML).")],
    episodes: Annotated[int, typer.Option(min=1, help="Number of robots.")] = 64,
    seconds: Annotated[float, typer.Option(min=1.0, help="Simulated time of each [s].")] = 60.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environments.")] = 12345,
    record: Annotated[
        Path | None,
        typer.Option(help="Write the states handed over to this .npz, to start episodes in."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="States recorded of each skill.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let skills take turns with random commands and count the falls."""
    from stridelab.skills.chain import Recorder, chain
    from stridelab.skills.skill import load_skills

    skill_set = load_skills(skills)
    recorder = Recorder(len(skill_set.skills)) if record is not None else None
    result, env = chain(skill_set, episodes=episodes, seconds=seconds, seed=seed, recorder=recorder)
    if record is not None and recorder is not None:
        recorder.write(record, env, count, seed)
    if as_json:
        print_json(
            {
                "falls_per_minute": result.falls_per_minute,
                "falls": result.falls,
                "minutes": result.minutes,
                "falls_after": result.handovers,
            }
        )
        return
    table = Table(header_style="bold", pad_edge=False)
    for title in ("fell with", "taken over from", "falls"):
        table.add_column(title)
    for name, others in result.handovers.items():
        for other, number in others.items():
            table.add_row(name, other, str(number))
    stdout.print(table)
    stdout.print(
        f"{result.falls} falls in {result.minutes:.0f} robot minutes: "
        f"{result.falls_per_minute:.2f} a minute"
    )
