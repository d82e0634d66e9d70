"""``stridelab compare``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from stridelab.cli.console import print_json, stderr, stdout
from stridelab.cli.policy import TrackingOption


class Mode(StrEnum):
    """Which scores are better."""

    max = "max"
    min = "min"


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="MLflow experiments, studies or run ids; default the experiment that ran last.",
            metavar="EXPERIMENT|RUN_ID|STUDY",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="Metric to compare.")] = "episode/return",
    mode: Annotated[Mode, typer.Option(help="Which scores are better.")] = Mode.max,
    target: Annotated[
        float | None,
        typer.Option(help="Score that counts as solved; default that of the best run."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Also show after how many environment steps runs first reached this."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Configuration to improve on; default the study's own.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write pictures to this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tracking_uri: TrackingOption = None,
) -> None:
    """Compare runs, sweeps or experiments: scores with intervals, curves, what matters."""
    from stridelab.compare.analysis import compare
    from stridelab.compare.collect import collect
    from stridelab.compare.page import write_page
    from stridelab.compare.pictures import write_pictures
    from stridelab.compare.tables import report
    from stridelab.tracking.store import default_uri

    uri = tracking_uri or default_uri("runs")
    with stderr.status("reading") as status:
        collection = collect(
            uri, targets or (), metric, on_progress=lambda text: status.update(escape(text))
        )
        status.update("comparing")
        comparison = compare(
            collection, mode=mode.value, target=target, threshold=threshold, baseline=baseline
        )
        written = [html] if html is not None else []
        if html is not None:
            write_page(comparison, html)
        if png is not None:
            written += write_pictures(comparison, png)
    if as_json:
        print_json(comparison.record())
    else:
        stdout.print(report(comparison))
    for path in written:
        stderr.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
