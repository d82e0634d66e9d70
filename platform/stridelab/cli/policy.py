"""Finding the policy that a command names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from stridelab.export.bundle import Policy, load_bundle
from stridelab_envs.errors import UserError

PolicyArgument = Annotated[
    str,
    typer.Argument(help="Policy bundle, checkpoint folder, or MLflow run id.", metavar="POLICY"),
]
TrackingOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="MLflow store of a run id; default runs/mlflow.db."),
]


def find_policy(name: str, uri: str | None) -> Policy:
    """Load a policy from a folder, or from the artifacts of an MLflow run.

    Raises:
        UserError: If there is no such policy.
    """
    path = Path(name)
    if path.exists():
        return load_bundle(path)
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise UserError(f"{name}: no such folder, and not an MLflow run id (32 hex digits)")
    from stridelab.tracking.runs import download_artifacts
    from stridelab.tracking.store import default_uri

    return load_bundle(download_artifacts(uri or default_uri("runs"), name, "policy"))
