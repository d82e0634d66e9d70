"""Entry point of ``stridelab``: puts the commands together and turns errors into one line."""

from __future__ import annotations

import sys

import typer

from stridelab.cli import evaluate, play, sweep, tasks, train, ui
from stridelab.cli.console import stderr
from stridelab_envs.errors import UserError

app = typer.Typer(
    name="stridelab",
    help="Distributed experiments for legged-robot reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (tasks, train, sweep, evaluate, play, ui):
    app.command(module.__name__.rpartition(".")[2])(module.command)


def main() -> None:
    """Run the command line; a mistake of the user ends with one line and exit code 2."""
    try:
        app()
    except UserError as error:
        stderr.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
