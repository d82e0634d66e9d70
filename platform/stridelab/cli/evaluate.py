"""``stridelab evaluate``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from stridelab.cli.console import print_json, stderr, stdout
from stridelab.cli.policy import (
    PolicyArgument,
    TrackingOption,
    find_policy,
    find_run,
    in_changed_task,
)
from stridelab.cli.study import OverridesArgument
from stridelab_envs.errors import UserError

if TYPE_CHECKING:
    from stridelab.evaluation.command_errors import CommandWatch
    from stridelab.evaluation.robustness import Axis
    from stridelab.evaluation.summary import Evaluation
    from stridelab.export.bundle import Policy

ARTIFACTS = "evaluation"
"""Where the files lie in the artifacts of a policy's run."""


def command(
    policy: PolicyArgument,
    overrides: OverridesArgument = None,
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environments.")] = 12345,
    output: Annotated[Path | None, typer.Option(help="Write the JSON to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    command_errors: Annotated[
        bool, typer.Option("--command-errors", help="Also map errors by what was commanded.")
    ] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also try pushes x frictions x payloads.")
    ] = False,
    push: Annotated[
        str | None, typer.Option(help="Pushes to try [m/s], for example 0,0.5,1.")
    ] = None,
    friction: Annotated[str | None, typer.Option(help="Frictions to try.")] = None,
    payload: Annotated[str | None, typer.Option(help="Payloads to try [kg].")] = None,
    cell_episodes: Annotated[int, typer.Option(min=1, help="Episodes in a cell.")] = 16,
    folder: Annotated[Path, typer.Option(help="Where grids and maps go, as JSON and PNG.")] = Path(
        "evaluation"
    ),
    tracking_uri: TrackingOption = None,
) -> None:
    """Run a policy's mean action for whole episodes and print what it does."""
    from stridelab.evaluation.command_errors import CommandWatch
    from stridelab.evaluation.robustness import axes_of
    from stridelab.evaluation.summary import table
    from stridelab_envs.registry import make_env

    chosen = {"push": push, "friction": friction, "payload": payload}
    if not robustness and any(chosen.values()):
        raise UserError("--push, --friction and --payload are for --robustness")
    values = {name: _numbers(f"--{name}", text) for name, text in chosen.items() if text}
    run = find_run(policy, tracking_uri)
    loaded = find_policy(policy, tracking_uri)
    if overrides:
        loaded = in_changed_task(loaded, overrides)
    task = loaded.experiment.task_config()
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    loaded.check_fits(env)
    watch = CommandWatch(task) if command_errors else None
    axes = axes_of(env, values) if robustness else []
    result = _evaluate(loaded, watch, episodes, seed)
    files = []
    if watch is not None:
        files += _write_errors(watch, folder, episodes, seed)
    if axes:
        files += _write_grid(loaded, axes, cell_episodes, seed, folder)
    if output is not None:
        result.write(output)
    if as_json:
        print_json(result.flat())
    else:
        stdout.print(table([result]))
    for file in files:
        stderr.print(str(file), soft_wrap=True, highlight=False)
    if run is not None and not overrides:
        _attach(run, result, files)


def _evaluate(policy: Policy, watch: CommandWatch | None, episodes: int, seed: int) -> Evaluation:
    from stridelab.evaluation.rollout import evaluate

    task = policy.experiment.task_config()
    with _progress("evaluating", task.max_episode_steps) as step:
        return evaluate(
            policy.controller,
            task if watch is None else watch.task,
            episodes=episodes,
            seed=seed,
            label=task.id,
            squared_errors=policy.squared_errors,
            on_step=step,
        )


def _write_errors(watch: CommandWatch, folder: Path, episodes: int, seed: int) -> list[Path]:
    from stridelab.evaluation.files import write_json
    from stridelab.evaluation.heat_maps import draw_command_errors

    errors = watch.errors(episodes=episodes, seed=seed)
    record, picture = folder / "command_errors.json", folder / "command_errors.png"
    write_json(record, errors.record())
    draw_command_errors(errors, picture)
    return [record, picture]


def _write_grid(
    policy: Policy, axes: list[Axis], episodes: int, seed: int, folder: Path
) -> list[Path]:
    from stridelab.evaluation.files import write_json
    from stridelab.evaluation.heat_maps import draw_robustness
    from stridelab.evaluation.robustness import missing_terms, robustness, steps_of

    task = policy.experiment.task_config()
    for line in missing_terms(task, axes):
        stderr.print(line, soft_wrap=True, highlight=False)
    with _progress("trying the grid", steps_of(task, axes, episodes)) as step:
        grid = robustness(policy.controller, task, axes, episodes=episodes, seed=seed, on_step=step)
    record, picture = folder / "robustness.json", folder / "robustness.png"
    write_json(record, grid.record())
    draw_robustness(grid, picture)
    return [record, picture]


def _attach(run: tuple[str, str], result: Evaluation, files: list[Path]) -> None:
    """Put the results into the artifacts of the policy's run."""
    from stridelab.tracking.runs import add_artifacts

    with tempfile.TemporaryDirectory(prefix="stridelab-") as scratch:
        summary = Path(scratch) / "evaluation.json"
        result.write(summary)
        add_artifacts(*run, [summary, *files], ARTIFACTS)
    stderr.print(f"kept with run {run[1]}: {ARTIFACTS}/", soft_wrap=True, highlight=False)


@contextmanager
def _progress(what: str, steps: int) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal; give what is called after every step."""
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        bar = progress.add_task(what, total=steps)
        yield lambda: progress.advance(bar)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f'{option}: must be numbers with commas between, got "{text}"') from None
