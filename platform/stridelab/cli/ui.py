"""``stridelab ui``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stridelab.cli.console import stderr
from stridelab.cli.policy import TrackingOption
from stridelab_envs.errors import UserError


def command(
    tracking_uri: TrackingOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow UI on this machine only."""
    from stridelab.tracking.store import default_uri

    uri = tracking_uri or default_uri("runs")
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.is_file():
        raise UserError(f"{database}: no runs yet; `make demo` or `stridelab train` makes some")
    address = f"http://127.0.0.1:{port}/#/experiments"
    stderr.print(f"MLflow UI: {address}  (Ctrl-C ends it)", highlight=False, soft_wrap=True)
    # MLflow 3 begins with its pages for language models; a browser remembers this choice, not
    # that of an address.
    stderr.print('Choose "Model training" at the top left, once.')
    arguments = ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments, "--backend-store-uri", uri])
