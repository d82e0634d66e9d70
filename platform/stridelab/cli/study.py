"""What ``train`` and ``sweep`` share: load, run, report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from stridelab.cli.console import print_json, stderr, stdout
from stridelab.experiment import load_experiment

OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Changes, as key=value with a dotted key.", metavar="[KEY=VALUE]..."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the newest study of this name.")
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster; without it, one is started on this machine."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]


def run(
    path: Path,
    overrides: list[str] | None,
    check: Callable[[bool], None],
    *,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Run the experiment file and print what came out; exit code 1 if a trial failed."""
    experiment = load_experiment(path, overrides or ())
    check(experiment.is_sweep)
    # Ray and torch take seconds to import: a wrong file is refused before.
    from stridelab.tuning.keep import keep_results
    from stridelab.tuning.report import ablation_table, best_outcome, result_table
    from stridelab.tuning.study import run_study

    result = run_study(experiment, resume=resume, address=address, console=stderr)
    for problem in keep_results(result):
        stderr.print(problem, style="yellow", markup=False, soft_wrap=True)
    failed = [outcome for outcome in result.outcomes if outcome.error is not None]
    for outcome in failed:
        stderr.print(
            f"failed: {outcome.label} seed={outcome.seed}: {outcome.error}",
            style="red",
            markup=False,
            soft_wrap=True,
        )
    if as_json:
        print_json([_record(outcome) for outcome in result.outcomes])
    else:
        stdout.print(result_table(result))
        if experiment.ablation is not None:
            stdout.print(ablation_table(result))
        best = best_outcome(result)
        if best is not None and best.checkpoint is not None:
            stdout.print(f"best:  {best.checkpoint.path}", soft_wrap=True, highlight=False)
        stdout.print(f"study: {result.folder.address}", soft_wrap=True, highlight=False)
        stdout.print(
            f"look:  stridelab ui --tracking-uri {result.tracking_uri}",
            soft_wrap=True,
            highlight=False,
        )
    if result.stopped:
        left = sum(outcome.is_unfinished for outcome in result.outcomes)
        stderr.print(
            f"stopped by {result.stopped} with {left} trials unfinished; --resume goes on",
            style="yellow",
        )
    if failed:
        raise typer.Exit(1)
    if result.stopped == "interrupt":
        raise typer.Exit(130)


def _record(outcome: Any) -> dict[str, Any]:
    return {
        "assignment": outcome.assignment,
        "seed": outcome.seed,
        "run_id": outcome.run_id,
        "checkpoint": outcome.checkpoint.path if outcome.checkpoint else None,
        "error": outcome.error,
        "metrics": {
            name: value
            for name, value in outcome.metrics.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
    }
