"""``stridelab train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.study import AddressOption, JsonOption, OverridesArgument, ResumeOption, run
from stridelab_envs.errors import UserError


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (YAML).")],
    overrides: OverridesArgument = None,
    resume: ResumeOption = False,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one run for each seed of an experiment."""

    def refuse_sweep(is_sweep: bool) -> None:
        if is_sweep:
            raise UserError(f"{experiment}: compares configurations; use `stridelab sweep`")

    run(experiment, overrides, refuse_sweep, resume=resume, address=address, as_json=as_json)
