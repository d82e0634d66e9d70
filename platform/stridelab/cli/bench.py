"""``stridelab bench``: physics, env, train, scale, choices."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from stridelab.bench.arena import compete
from stridelab.bench.report import machine, report, tables
from stridelab.bench.scaling import scale_suites, scaling
from stridelab.bench.suites import (
    QUICK_TIME_LIMIT,
    Size,
    Suite,
    env_suite,
    physics_suite,
    train_suite,
)
from stridelab.cli.console import print_json, stderr, stdout
from stridelab.cli.policy import PolicyArgument, find_policy

app = typer.Typer(help="Measure throughput against others.", no_args_is_help=True)

QuickOption = Annotated[bool, typer.Option("--quick", help="A small run, below 50 s.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _size(
    num_envs: Annotated[
        int | None, typer.Option(min=1, help="Environments; default 1024, with --quick 256.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process; default all cores.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds of each contender; default 5, with --quick 3."),
    ] = None,
    quick: QuickOption = False,
) -> Size:
    """Return how much is run; its parameters are options of every benchmark."""
    return Size(
        num_envs=num_envs or (256 if quick else 1024),
        num_threads=threads or len(os.sched_getaffinity(0)),
        rounds=rounds or (3 if quick else 5),
        time_limit=QUICK_TIME_LIMIT if quick else None,
    )


def _benchmark(command: Callable[..., None]) -> None:
    """Add a command: in place of ``size`` it gets the options of :func:`_size`."""
    shared = signature(_size, eval_str=True).parameters
    own = signature(command, eval_str=True).parameters
    options = {**shared, **{name: option for name, option in own.items() if name != "size"}}

    @wraps(command)
    def run(**values: Any) -> None:
        size = _size(**{name: values[name] for name in shared})
        command(size, **{name: values[name] for name in own if name != "size"})

    required_first = sorted(options.values(), key=lambda option: option.default is not option.empty)
    run.__signature__ = signature(command).replace(parameters=required_first)  # type: ignore[attr-defined]
    app.command()(run)


@_benchmark
def physics(size: Size, as_json: JsonOption = False) -> None:
    """Compare Simulation.step with a bare loop over mujoco.batch.Batch."""
    _run(physics_suite(size), size, as_json)


@_benchmark
def env(size: Size, as_json: JsonOption = False) -> None:
    """Compare BatchEnv.step with its physics alone."""
    _run(env_suite(size), size, as_json)


@_benchmark
def train(
    size: Size,
    quick: QuickOption = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Only show where an iteration's time goes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare training iterations with a hand-written loop, rsl_rl, stock RLlib and SB3."""
    if profile:
        _profile(size, as_json)
    else:
        _run(train_suite(size, quick=quick), size, as_json)


@_benchmark
def scale(
    size: Size,
    quick: QuickOption = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves to this PNG file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure against numbers of environments, against sampling processes, with a long history."""
    from stridelab.bench.scaling_plot import draw_scaling

    parts = [_hold(suite, size) for suite in scale_suites(size, quick=quick)]
    record = scaling(parts)
    if plot is not None:
        draw_scaling(record, plot)
        stderr.print(f"written: {plot}", highlight=False, markup=False, soft_wrap=True)
    if as_json:
        print_json(record)
    else:
        stdout.print(Group(*(tables(part) for part in parts)))
    if any(part["skipped"] for part in parts):  # all contenders are ours
        raise typer.Exit(1)


@_benchmark
def choices(size: Size, policy: PolicyArgument, as_json: JsonOption = False) -> None:
    """Compare solver, cone, contacts and time step: error against 1 ms, and speed."""
    from stridelab.bench.choices import compare_choices, table

    loaded = find_policy(policy, None)
    with stderr.status("starting") as status:
        scores = compare_choices(
            loaded.controller,
            loaded.experiment.task_config(),
            num_envs=size.num_envs,
            num_threads=size.num_threads,
            rounds=size.rounds,
            on_progress=status.update,
        )
    if as_json:
        scored = {name: asdict(score) for name, score in scores.items()}
        print_json({"policy": policy, "choices": scored, "machine": machine()})
    else:
        stdout.print(table(scores, policy))


def _hold(suite: Suite, size: Size) -> dict[str, Any]:
    """Hold the match and return its record."""
    about = machine()
    with stderr.status("starting") as status:
        match = compete(
            suite.entries,
            rounds=size.rounds,
            num_threads=size.num_threads,
            time_limit=size.time_limit,
            on_progress=status.update,
        )
    return report(suite, size, match, about)


def _run(suite: Suite, size: Size, as_json: bool) -> None:
    """Hold the match and print it; exit code 1 if our own contender broke down."""
    record = _hold(suite, size)
    if as_json:
        print_json(record)
    else:
        stdout.print(tables(record))
    if suite.entries[0].name in record["skipped"]:
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
