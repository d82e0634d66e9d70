"""``stridelab tensorboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stridelab.cli.console import stderr, stdout
from stridelab.cli.policy import TrackingOption


def command(
    targets: Annotated[
        list[str],
        typer.Argument(help="MLflow experiments or run ids.", metavar="EXPERIMENT|RUN_ID..."),
    ],
    logdir: Annotated[Path, typer.Option(help="Folder for the event files.")] = Path("tensorboard"),
    tracking_uri: TrackingOption = None,
) -> None:
    """Write runs as TensorBoard event files, over environment steps."""
    from stridelab.tracking.store import default_uri
    from stridelab.tracking.tensorboard import export_runs

    with stderr.status("reading") as status:
        folders = export_runs(
            tracking_uri or default_uri("runs"),
            targets,
            logdir,
            on_run=lambda name: status.update(escape(name)),
        )
    for folder in folders:
        stdout.print(str(folder), soft_wrap=True, highlight=False, markup=False)
