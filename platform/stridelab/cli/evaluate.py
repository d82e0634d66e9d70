"""``stridelab evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.console import print_json, stdout
from stridelab.cli.policy import PolicyArgument, TrackingOption, find_policy


def command(
    policy: PolicyArgument,
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the environments.")] = 12345,
    output: Annotated[Path | None, typer.Option(help="Write the JSON to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    tracking_uri: TrackingOption = None,
) -> None:
    """Run a policy's mean action for whole episodes and print what it does."""
    from stridelab.evaluation.rollout import evaluate
    from stridelab.evaluation.summary import table
    from stridelab_envs.registry import make_env

    loaded = find_policy(policy, tracking_uri)
    task = loaded.experiment.task_config()
    loaded.check_fits(make_env(task, num_envs=1, seed=0, num_threads=1))
    result = evaluate(
        loaded.controller,
        task,
        episodes=episodes,
        seed=seed,
        label=task.id,
        squared_errors=loaded.squared_errors,
    )
    if output is not None:
        result.write(output)
    if as_json:
        print_json(result.flat())
    else:
        stdout.print(table([result]))
