"""``stridelab export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from stridelab.cli.console import stdout
from stridelab.cli.policy import PolicyArgument, TrackingOption, find_policy


def command(
    policy: PolicyArgument,
    format: Annotated[Literal["onnx", "torchscript"], typer.Option(help="Kind of file.")],
    batch: Annotated[
        Literal["fixed", "free"],
        typer.Option(help="One observation at a time, or any number."),
    ] = "fixed",
    output: Annotated[
        Path | None, typer.Option(help="File to write; default <experiment>.onnx or .pt.")
    ] = None,
    tracking_uri: TrackingOption = None,
) -> None:
    """Write a policy as ONNX or TorchScript, checked against the original, metadata inside."""
    from stridelab.export.writer import SUFFIXES, export_policy

    loaded = find_policy(policy, tracking_uri)
    path = output or Path(f"{loaded.experiment.name}{SUFFIXES[format]}")
    difference = export_policy(loaded, path, format=format, batch=batch)
    stdout.print(
        f"{path}: largest difference from the policy {difference:.1e}",
        soft_wrap=True,
        highlight=False,
    )
