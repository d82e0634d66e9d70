"""Finding the policy that a command names."""

from __future__ import annotations

import logging
import os
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stridelab_envs.errors import UserError

if TYPE_CHECKING:
    from stridelab.export.bundle import Policy

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
    from stridelab.export.bundle import load_bundle

    quiet_ray()
    run = find_run(name, uri)
    if run is None:
        return load_bundle(Path(name))
    from stridelab.tracking.runs import download_artifacts

    return load_bundle(download_artifacts(*run, "policy"))


def quiet_ray() -> None:
    """Spare users RLlib's warnings of what it does itself; Ray's import sets the level anew."""
    import ray

    logging.getLogger(ray.__name__).setLevel(logging.ERROR)


def find_run(name: str, uri: str | None) -> tuple[str, str] | None:
    """Return tracking URI and id of the MLflow run that POLICY names; None for a folder.

    Raises:
        UserError: It names neither.
    """
    if os.path.exists(name):  # noqa: PTH110 (Path.exists raises where the name is too long)
        return None
    if not re.fullmatch("[0-9a-f]{32}", name):
        raise UserError(f"{name}: no such folder, and not an MLflow run id (32 hex digits)")
    from stridelab.tracking.store import default_uri

    uri = uri or default_uri("runs")
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.is_file():
        raise UserError(f"{name}: no such folder, and {database} does not exist to hold a run")
    return uri, name


def in_changed_task(policy: Policy, overrides: list[str]) -> Policy:
    """Return the policy with changes to the ``task`` section of its experiment.

    Raises:
        UserError: If a change is not one of the task, or refused by it.
    """
    from stridelab.experiment import parse_experiment
    from stridelab.experiment.overrides import apply_override

    tree, places = deepcopy(policy.description["experiment"]), dict[str, str]()
    for text in overrides:
        if not text.lstrip("~+").startswith("task."):
            raise UserError(f'override "{text}": only the task can be changed, as task.KEY=VALUE')
        apply_override(tree, places, text)
    parse_experiment(tree, places)  # a mistake shows with the override that made it
    return replace(policy, description={**policy.description, "experiment": tree})
