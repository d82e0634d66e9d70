"""``stridelab sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.study import AddressOption, JsonOption, OverridesArgument, ResumeOption, run
from stridelab_envs.errors import UserError


def command(
    experiment: Annotated[Path, typer.Argument(help="Experiment file (YAML) with a sweep.")],
    overrides: OverridesArgument = None,
    resume: ResumeOption = False,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train every configuration of a sweep under every seed, and compare them."""

    def require_sweep(is_sweep: bool) -> None:
        if not is_sweep:
            raise UserError(
                f"{experiment}: has no sweep or ablation section; use `stridelab train`"
            )

    run(experiment, overrides, require_sweep, resume=resume, address=address, as_json=as_json)
