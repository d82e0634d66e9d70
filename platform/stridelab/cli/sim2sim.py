"""``stridelab sim2sim``."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from stridelab.cli.console import print_json, stderr, stdout
from stridelab_envs.errors import UserError

if TYPE_CHECKING:
    from stridelab.sim2sim.playback import Outcome


def command(
    policy: Annotated[Path, typer.Argument(help="ONNX or TorchScript file.", metavar="POLICY")],
    model: Annotated[Path, typer.Option(help="MJCF file: a scene, or a robot alone.")],
    layout: Annotated[Path, typer.Option(help="Layout file: what the policy expects.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the layout, for example dynamics.damping=1.0.",
            metavar="[KEY=VALUE]...",
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(help="vx,vy,yaw in m/s and rad/s; default as in the layout."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length in seconds.")] = 20.0,
    video: Annotated[Path | None, typer.Option(help="MP4 file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play an exported or foreign policy in plain MuJoCo at its own rates."""
    from stridelab.evaluation.video import VideoRecorder
    from stridelab.export.inference import load_exported
    from stridelab.sim2sim.plant import load_plant
    from stridelab.sim2sim.playback import PlantScene, Playback

    wanted = None if command is None else _command(command)
    plant = load_plant(model, layout, overrides or ())
    memory = plant.layout.recurrent
    exported = load_exported(policy, reset_method=memory.reset, state=memory.state)
    playback = Playback(exported, plant, wanted)
    steps = round(seconds / plant.control_dt)
    with ExitStack() as stack:
        progress = stack.enter_context(
            Progress(console=stderr, transient=True, disable=not stderr.is_terminal)
        )
        bar = progress.add_task("playing", total=steps)
        recorder = None
        if video is not None:
            recorder = stack.enter_context(
                VideoRecorder(
                    PlantScene(plant),
                    video,
                    title=policy.stem,
                    control_dt=plant.control_dt,
                    body=plant.layout.base,
                )
            )

        def on_step() -> None:
            progress.advance(bar)
            if recorder is not None:
                recorder.capture()

        outcome = playback.run(seconds, on_step)
    if as_json:
        names = {"policy": str(policy), "model": str(model), "layout": str(layout)}
        print_json(names | outcome.flat())
    else:
        stdout.print(_table(outcome))


def _command(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise UserError(f'--command: expected vx,vy,yaw such as 0.5,0,0, got "{text}"')
    return values


def _table(outcome: Outcome) -> Table:
    table = Table(show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    asked = ", ".join(f"{value:g}" for value in outcome.command)
    survived = f"{outcome.time_survived:.2f} of {outcome.seconds:g} s"
    for name, value in (
        ("command (vx, vy, yaw)", asked),
        ("time survived", survived),
        ("falls", str(outcome.falls)),
        ("distance", f"{outcome.distance:.2f} m"),
        ("forward velocity", f"{outcome.forward_velocity:+.3f} m/s"),
        ("lateral velocity", f"{outcome.lateral_velocity:+.3f} m/s"),
        ("yaw rate", f"{outcome.yaw_rate:+.3f} rad/s"),
    ):
        table.add_row(name, value)
    return table
