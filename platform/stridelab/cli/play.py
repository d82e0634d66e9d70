"""``stridelab play``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from stridelab.cli.console import stderr, stdout
from stridelab.cli.policy import PolicyArgument, TrackingOption, find_policy
from stridelab_envs.errors import UserError


def command(
    policy: PolicyArgument,
    video: Annotated[Path | None, typer.Option(help="MP4 file to write.")] = None,
    viewer: Annotated[bool, typer.Option("--viewer", help="Open a window instead.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length [s].")] = 20.0,
    num_envs: Annotated[int, typer.Option(min=1, help="Environments in one picture.")] = 1,
    plain: Annotated[bool, typer.Option("--plain", help="Film the robots alone.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environments.")] = 0,
    tracking_uri: TrackingOption = None,
) -> None:
    """Watch a policy: film it, or open MuJoCo's viewer."""
    if viewer == (video is not None):
        raise UserError("say how to look: --video FILE or --viewer")
    loaded = find_policy(policy, tracking_uri)
    if video is None:
        from stridelab.evaluation.viewer import watch

        watch(loaded, seconds=seconds, seed=seed)
        return
    from stridelab.evaluation.film import film_policy

    steps = round(seconds / loaded.experiment.task_config().control_dt)
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task("filming", total=steps)
        files = film_policy(
            loaded,
            video.with_suffix(""),
            seconds=seconds,
            num_envs=num_envs,
            seed=seed,
            plain=plain,
            on_step=lambda: progress.advance(bar),
        )
    for file in files:
        stdout.print(str(file), soft_wrap=True, highlight=False)
