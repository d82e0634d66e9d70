"""Reading runs back, and adding files to them: for evaluate, compare and export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from stridelab.tracking.client import connect
from stridelab.tracking.outbox import one_line
from stridelab.tracking.provenance import without_password
from stridelab_envs.errors import UserError, unknown_name

_PAGE = 1000


@dataclass(frozen=True)
class RunRecord:
    """One run as the tracking server holds it.

    Attributes:
        run_id: MLflow run id.
        name: Run name.
        status: RUNNING, FINISHED, FAILED, KILLED or SCHEDULED.
        params: Parameters as text, under dotted names.
        tags: All tags.
        metrics: Last value of each metric.
        parent_run_id: Run of the sweep this one belongs to, if any.
        start_time: Seconds since 1970 [s].
    """

    run_id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    parent_run_id: str | None
    start_time: float


@dataclass(frozen=True)
class MetricHistory:
    """A logged metric in the order of its steps, one value a step (the last one logged).

    Attributes:
        steps: Environment steps, int64, shape ``(num_points,)``.
        values: Values, float64, shape ``(num_points,)``.
        times: Seconds since 1970 [s], float64, shape ``(num_points,)``.
    """

    steps: np.ndarray
    values: np.ndarray
    times: np.ndarray


def find_runs(uri: str, experiment_name: str, *, kind: str | None = None) -> list[RunRecord]:
    """Return the runs of an experiment, oldest first.

    Args:
        uri: MLflow tracking URI.
        experiment_name: MLflow experiment.
        kind: ``"trial"`` or ``"sweep"`` to get only these; None for all.

    Raises:
        UserError: If there is no such experiment, or the server does not answer.
    """
    filter_string = f"tags.`stridelab.kind` = '{kind}'" if kind else ""
    with _connected(uri) as client:
        experiment = client.get_experiment_by_name(experiment_name)
        if experiment is None:
            known = [found.name for found in client.search_experiments(max_results=_PAGE)]
            raise UserError(unknown_name("MLflow experiment", experiment_name, known))
        runs: list[RunRecord] = []
        token = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id],
                filter_string,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            runs += [_record(run) for run in page]
            token = page.token
            if not token:
                return runs


def get_run(uri: str, run_id: str) -> RunRecord:
    """Return one run.

    Raises:
        UserError: If there is no such run, or the server does not answer.
    """
    with _connected(uri) as client:
        return _record(client.get_run(run_id))


def metric_history(uri: str, run_id: str, name: str) -> MetricHistory:
    """Return all values of a metric; empty arrays when it was never logged.

    Raises:
        UserError: If there is no such run, or the server does not answer.
    """
    with _connected(uri) as client:
        logged = client.get_metric_history(run_id, name)  # reads page after page
    last = {m.step: m for m in sorted(logged, key=lambda m: m.timestamp)}
    points = [last[step] for step in sorted(last)]
    return MetricHistory(
        steps=np.array([m.step for m in points], dtype=np.int64),
        values=np.array([m.value for m in points], dtype=np.float64),
        times=np.array([m.timestamp for m in points], dtype=np.float64) / 1000.0,
    )


def download_artifacts(uri: str, run_id: str, path: str = "", folder: Path | None = None) -> Path:
    """Download an artifact file or folder of a run.

    Args:
        uri: MLflow tracking URI.
        run_id: The run.
        path: Path inside the run's artifacts; ``""`` for all of them.
        folder: Where to put it, made when missing; default is a new temporary folder.

    Returns:
        Path of the downloaded file or folder.

    Raises:
        UserError: If the run has no such artifact, or the server does not answer.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    target = str(folder) if folder is not None else None
    with _connected(uri) as client:
        if path and not _has_artifact(client, run_id, path):
            known = [info.path for info in client.list_artifacts(run_id)]
            raise UserError(unknown_name(f"artifact of run {run_id}", path, known))
        return Path(client.download_artifacts(run_id, path, target))


def add_artifacts(uri: str, run_id: str, files: Iterable[Path], folder: str) -> None:
    """Put files into an artifact folder of a run, over those of the same names.

    Raises:
        UserError: If there is no such run, or the server does not answer.
    """
    with _connected(uri) as client:
        for file in files:
            client.log_artifact(run_id, str(file), folder)


def _has_artifact(client: MlflowClient, run_id: str, path: str) -> bool:
    parent = path.rstrip("/").rpartition("/")[0] or None
    return path.rstrip("/") in {info.path for info in client.list_artifacts(run_id, parent)}


@contextmanager
def _connected(uri: str) -> Iterator[MlflowClient]:
    """Give a client whose errors become one line for the user."""
    try:
        yield connect(uri)
    except (MlflowException, OSError) as error:
        raise UserError(f'tracking uri "{without_password(uri)}": {one_line(error)}') from error


def _record(run: Run) -> RunRecord:
    tags = dict(run.data.tags)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        params=dict(run.data.params),
        tags=tags,
        metrics=dict(run.data.metrics),
        parent_run_id=tags.get("mlflow.parentRunId"),
        start_time=run.info.start_time / 1000.0,
    )
