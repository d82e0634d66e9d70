"""Entry point of ``stridelab``: puts the commands together and turns errors into one line."""

from __future__ import annotations

import logging
import sys

import typer

from stridelab.cli import (
    bench,
    chain,
    check,
    compare,
    distill,
    evaluate,
    export,
    new,
    play,
    sim2sim,
    submit,
    sweep,
    takeover,
    tasks,
    tensorboard,
    train,
    ui,
)
from stridelab.cli.console import stderr
from stridelab_envs.errors import UserError

app = typer.Typer(
    name="stridelab",
    help="Distributed experiments for legged-robot reinforcement learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for module in (
    tasks,
    check,
    train,
    sweep,
    submit,
    evaluate,
    compare,
    play,
    chain,
    takeover,
    distill,
    export,
    sim2sim,
    tensorboard,
    ui,
):
    app.command(module.__name__.rpartition(".")[2])(module.command)
app.add_typer(new.app, name="new")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line; a mistake of the user ends with one line and exit code 2."""
    # Both are talkative about themselves; what matters to a user is raised.
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as error:
        _fail(str(error))
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if not message.strip():  # a command without its sub-command has shown its help
            sys.exit(2)
        _fail(message)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)


def _fail(message: str) -> None:
    stderr.print(f"error: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
