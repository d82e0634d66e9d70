"""``stridelab bench``: physics, env, train."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from stridelab.bench.arena import compete
from stridelab.bench.report import machine, report, tables
from stridelab.bench.suites import (
    QUICK_TIME_LIMIT,
    Size,
    Suite,
    env_suite,
    physics_suite,
    train_suite,
)
from stridelab.cli.console import print_json, stderr, stdout

app = typer.Typer(help="Measure throughput against others.", no_args_is_help=True)

EnvsOption = Annotated[
    int | None,
    typer.Option("--num-envs", min=1, help="Environments; default 1024, with --quick 256."),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads of each process; default all cores."),
]
RoundsOption = Annotated[
    int | None,
    typer.Option("--rounds", min=1, help="Rounds of each contender; default 5, with --quick 3."),
]
QuickOption = Annotated[bool, typer.Option("--quick", help="A small run, below 50 s.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def physics(
    num_envs: EnvsOption = None,
    threads: ThreadsOption = None,
    rounds: RoundsOption = None,
    quick: QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare Simulation.step with a bare loop over mujoco.batch.Batch."""
    size = _size(num_envs, threads, rounds, quick)
    _run(physics_suite(size), size, as_json)


@app.command()
def env(
    num_envs: EnvsOption = None,
    threads: ThreadsOption = None,
    rounds: RoundsOption = None,
    quick: QuickOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare BatchEnv.step with its physics alone."""
    size = _size(num_envs, threads, rounds, quick)
    _run(env_suite(size), size, as_json)


@app.command()
def train(
    num_envs: EnvsOption = None,
    threads: ThreadsOption = None,
    rounds: RoundsOption = None,
    quick: QuickOption = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only show where an iteration's time goes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare training iterations with a hand-written loop, rsl_rl, stock RLlib and SB3."""
    size = _size(num_envs, threads, rounds, quick)
    if profile:
        _profile(size, as_json)
    else:
        _run(train_suite(size, quick=quick), size, as_json)


def _size(num_envs: int | None, threads: int | None, rounds: int | None, quick: bool) -> Size:
    return Size(
        num_envs=num_envs or (256 if quick else 1024),
        num_threads=threads or len(os.sched_getaffinity(0)),
        rounds=rounds or (3 if quick else 5),
        time_limit=QUICK_TIME_LIMIT if quick else None,
    )


def _run(suite: Suite, size: Size, as_json: bool) -> None:
    """Hold the match and print it; exit code 1 if our own contender broke down."""
    about = machine()
    with stderr.status("starting") as status:
        match = compete(
            suite.entries,
            rounds=size.rounds,
            num_threads=size.num_threads,
            time_limit=size.time_limit,
            on_progress=status.update,
        )
    record = report(suite, size, match, about)
    if as_json:
        print_json(record)
    else:
        stdout.print(tables(record))
    if suite.entries[0].name in match.skipped:
        raise typer.Exit(1)


def _profile(size: Size, as_json: bool) -> None:
    from stridelab.bench.profiling import profile, table
    from stridelab.bench.training import PlatformTraining

    with stderr.status("profiling"):
        training = PlatformTraining(size.num_envs, size.num_threads, "bf16")
        training.run()
        start = time.perf_counter()
        shares = profile(training, size.rounds)
        seconds = (time.perf_counter() - start) / size.rounds
        training.close()
    if as_json:
        print_json({"iteration_seconds": seconds, "shares": shares, "machine": machine()})
    else:
        stdout.print(table(shares, seconds))
