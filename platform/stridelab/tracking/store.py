"""One MLflow experiment to write to, which goes on working while the server is away."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import INVALID_STATE, MlflowException

from stridelab.tracking.client import connect
from stridelab.tracking.names import (
    METRICS_PER_BATCH,
    PARAMS_PER_BATCH,
    clean_metrics,
    clean_params,
    clean_tags,
)
from stridelab.tracking.outbox import Outbox, is_refusal, one_line
from stridelab.tracking.provenance import without_password
from stridelab.tracking.requests import Request
from stridelab.tracking.spool import Record, Spool
from stridelab_envs.errors import UserError

logger = logging.getLogger(__name__)

FINAL_STATUSES = frozenset({"FINISHED", "FAILED", "KILLED"})

_CLOSE_PATIENCE_S = 30.0
_MODEL_FOLDER = "model"
_RUN_KEY = "stridelab.run_key"
_LOCAL_ID = "local-"


@dataclass(frozen=True)
class RunSnapshot:
    """What the tracking server holds of a run.

    Attributes:
        status: RUNNING, FINISHED, FAILED, KILLED or SCHEDULED.
        params: Parameters as stored.
        env_steps: Largest logged number of environment steps, -1 when none was logged.
    """

    status: str
    params: dict[str, str]
    env_steps: int


def default_uri(storage_path: str | Path) -> str:
    """Return the URI of the SQLite store that lies in the storage path.

    Raises:
        UserError: If the storage path is not on a local disk.
    """
    folder = _local_folder(storage_path)
    if folder is None:
        raise UserError(
            f'storage path "{storage_path}" is not a local folder, so the tracking store cannot '
            "lie in it; name a tracking server (http://...)"
        )
    return f"sqlite:///{folder / 'mlflow.db'}"


def open_store(uri: str, experiment_name: str, storage_path: str | Path) -> Store:
    """Open the tracking store and send what an earlier process had to leave in the spool.

    Args:
        uri: MLflow tracking URI: ``http(s)://...``, ``sqlite:////abs/mlflow.db``, ...
        experiment_name: MLflow experiment; made when it does not exist. With a database URI its
            artifacts go to ``<storage_path>/artifacts``, with a server to where the server says.
        storage_path: Where sweeps are stored. The spool lies in ``<storage_path>/spool``, or in
            ``~/.stridelab/spool`` when the storage path is not a local folder.

    Raises:
        UserError: If the URI is of no known kind, or the experiment was deleted in MLflow.
    """
    folder = _local_folder(storage_path)
    is_server = uri.startswith(("http://", "https://"))
    artifacts = (folder / "artifacts").as_uri() if folder and not is_server else None
    try:
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = connect(uri)
    except Exception as error:  # each kind of store fails to open in its own way
        raise UserError(f'tracking uri "{without_password(uri)}": {one_line(error)}') from error
    owner = hashlib.sha1(f"{uri}\n{experiment_name}".encode()).hexdigest()[:8]
    spool = Spool((folder or Path.home() / ".stridelab") / "spool", owner)
    store = Store(client, experiment_name, artifacts, spool)
    try:
        store.experiment_id()
    except MlflowException as error:
        if is_refusal(error):
            raise UserError(one_line(error)) from error
        logger.warning("tracking: the server is away, records are spooled: %s", one_line(error))
    store.flush()
    return store


_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Lets the UI open on the table of runs, not on pages for language models."""


class Store:
    """One MLflow experiment to write to; made by :func:`open_store`, used from one thread.

    The writing methods do not raise because of the server: while it is away they spool, and what
    it refuses goes to ``rejected.jsonl`` in the spool folder with a warning. While a run cannot be
    created its id is a stand-in that all methods take; :meth:`resolve` gives the true one.
    """

    def __init__(
        self, client: MlflowClient, experiment_name: str, artifacts: str | None, spool: Spool
    ) -> None:
        self._client = client
        self._experiment_name = experiment_name
        self._artifacts = artifacts
        self._outbox = Outbox(self._execute, self._answers, spool)
        self._experiment_id: str | None = None
        self._ids: dict[str, str] = {}  # stand-in -> run id
        self._dropped: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """Number of records that wait in the spool."""
        return self._outbox.spool.pending

    def experiment_id(self) -> str:
        """Return the id of the experiment, which is made when it does not exist.

        Raises:
            MlflowException: If the server is away, or the experiment was deleted (INVALID_STATE).
        """
        if self._experiment_id is not None:
            return self._experiment_id
        found = self._client.get_experiment_by_name(self._experiment_name)
        if found is None:
            try:
                made = self._client.create_experiment(
                    self._experiment_name, self._artifacts, tags=_EXPERIMENT_TAGS
                )
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # made by another process
                    raise
                made = self._client.get_experiment_by_name(self._experiment_name).experiment_id
            self._experiment_id = str(made)
        elif found.lifecycle_stage != "active":
            raise MlflowException(
                f'experiment "{self._experiment_name}" was deleted in MLflow; restore it '
                f"(mlflow experiments restore -x {found.experiment_id}) or choose another name",
                error_code=INVALID_STATE,
            )
        else:
            self._experiment_id = str(found.experiment_id)
        return self._experiment_id

    def create_run(
        self,
        run_name: str,
        tags: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        identity: Mapping[str, str] | None = None,
    ) -> str:
        """Create a run and return its id.

        Args:
            run_name: Name shown in the UI.
            tags: Tags of the new run.
            parent_run_id: Makes the run a child of this one.
            identity: Tags that no other run of the experiment bears together. A run that has them
                already is continued (RUNNING again) instead of a second one being made.
        """
        stand_in = _LOCAL_ID + uuid.uuid4().hex
        identity = clean_tags(identity or {_RUN_KEY: stand_in})
        self._outbox.send(
            {
                "op": "create",
                "run": stand_in,
                "name": run_name,
                "tags": clean_tags(tags or {}),
                "identity": identity,
                "parent": parent_run_id,
                "time": _now_ms(),
            }
        )
        return self.resolve(stand_in)

    def resolve(self, run_id: str) -> str:
        """Return the MLflow id of a run, or ``run_id`` itself while the run is not yet created."""
        return self._ids.get(run_id, run_id)

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Log nested or dotted parameters; values of a logged parameter can not change."""
        for chunk in _chunks(clean_params(params), PARAMS_PER_BATCH):
            self._outbox.send({"op": "batch", "run": self.resolve(run_id), "params": chunk})

    def log_metrics(self, run_id: str, metrics: Mapping[str, Any], step: int) -> None:
        """Log the metrics on the allow-list in one request.

        Args:
            run_id: The run.
            metrics: Name to value, for example a whole Tune result; see ``names.METRIC_PREFIXES``
                for what is kept. NaN and infinity are left out, counted, and recorded by
                :meth:`finish`.
            step: Cumulative number of environment steps.
        """
        kept, dropped = clean_metrics(metrics)
        for name in dropped:
            if not self._dropped[run_id]:
                logger.warning('tracking: "%s" is not finite at step %d; left out', name, step)
            self._dropped[run_id] += 1
        for chunk in _chunks(kept, METRICS_PER_BATCH):
            record: Record = {"op": "batch", "run": self.resolve(run_id), "metrics": chunk}
            self._outbox.send({**record, "step": int(step), "time": _now_ms()})

    def dropped_values(self, run_id: str) -> int:
        """Return how many metric values of a run were left out because they were not finite."""
        return self._dropped[run_id]

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags, replacing the values of those that exist."""
        for chunk in _chunks(clean_tags(tags), PARAMS_PER_BATCH):
            self._outbox.send({"op": "batch", "run": self.resolve(run_id), "tags": chunk})

    def log_artifact(self, run_id: str, path: Path, artifact_path: str | None = None) -> None:
        """Upload a file, or the content of a folder, into the run's folder ``artifact_path``.

        Raises:
            FileNotFoundError: If ``path`` does not exist.
        """
        if not path.exists():
            raise FileNotFoundError(path)
        record: Record = {"op": "artifact", "run": self.resolve(run_id)}
        self._outbox.send({**record, "path": str(path.resolve()), "artifact_path": artifact_path})

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Store ``text`` as the artifact ``artifact_file``, for example ``experiment.yaml``."""
        record: Record = {"op": "text", "run": self.resolve(run_id), "text": text}
        self._outbox.send({**record, "artifact_file": artifact_file})

    def register_model(self, run_id: str, name: str, tags: Mapping[str, Any]) -> None:
        """Make the model among a run's artifacts a version of the registered model ``name``."""
        record: Record = {"op": "register", "run": self.resolve(run_id), "name": name}
        self._outbox.send({**record, "tags": clean_tags(tags)})

    def reopen(self, run_id: str) -> None:
        """Set a run that had ended back to RUNNING."""
        self._outbox.send({"op": "status", "run": self.resolve(run_id), "status": "RUNNING"})

    def finish(self, run_id: str, status: str) -> None:
        """End a run.

        Raises:
            ValueError: If ``status`` is not FINISHED, FAILED or KILLED.
        """
        if status not in FINAL_STATUSES:
            raise ValueError(f"status {status!r} is none of {sorted(FINAL_STATUSES)}")
        if self._dropped[run_id]:
            self.set_tags(run_id, {"stridelab.dropped_values": self._dropped[run_id]})
        record: Record = {"op": "status", "run": self.resolve(run_id), "status": status}
        self._outbox.send({**record, "time": _now_ms()})

    def run_status(self, run_id: str) -> str | None:
        """Return the status of a run, or None while the server is away or the run not created."""
        snapshot = self.snapshot(run_id)
        return snapshot.status if snapshot else None

    def snapshot(self, run_id: str) -> RunSnapshot | None:
        """Read a run back, or return None while the server is away or the run not created."""
        if self._outbox.is_away:
            return None
        try:
            run = self._client.get_run(self.resolve(run_id))
        except MlflowException as error:
            logger.debug("tracking: run %s not read: %s", run_id, one_line(error))
            return None
        steps = run.data.metrics.get("env_steps", -1)
        return RunSnapshot(run.info.status, dict(run.data.params), int(steps))

    def running(self, tags: Mapping[str, str]) -> list[str]:
        """Return the ids of all RUNNING runs that bear ``tags``; none while the server is away."""
        if self._outbox.is_away:
            return []
        try:
            return self._find(tags, "attributes.status = 'RUNNING'")
        except MlflowException as error:
            logger.debug("tracking: runs not searched: %s", one_line(error))
            return []

    def flush(self) -> bool:
        """Send spooled records for a short time; cheap enough for every step of a loop.

        Returns:
            True when nothing is left.
        """
        return self._outbox.flush()

    def close(self) -> None:
        """Send what is spooled, as long as the server takes it; the rest stays on disk."""
        if not self._outbox.drain(_CLOSE_PATIENCE_S):
            logger.warning(
                "tracking: %d records stay in %s until this experiment is opened again",
                self.pending,
                self._outbox.spool.folder,
            )

    def _execute(self, request: Request) -> None:
        """Carry out a request; all kinds may be carried out twice with the same outcome."""
        record = request[0]
        run_id = self.resolve(record["run"])
        match record["op"]:
            case "create":
                self._ids[record["run"]] = self._find_or_create(record)
            case "batch":
                self._log_batch(run_id, request)
            case "artifact":
                self._upload(run_id, record)
            case "text":
                self._client.log_text(run_id, record["text"], record["artifact_file"])
            case "register":
                self._register(run_id, record)
            case "status" if record["status"] == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            case "status":
                self._client.set_terminated(run_id, record["status"], record["time"])

    def _log_batch(self, run_id: str, request: Request) -> None:
        params = {n: v for record in request for n, v in record.get("params", {}).items()}
        tags = {n: v for record in request for n, v in record.get("tags", {}).items()}
        self._client.log_batch(
            run_id,
            metrics=[
                Metric(name, value, record["time"], record["step"])
                for record in request
                for name, value in record.get("metrics", {}).items()
            ],
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
            synchronous=True,
        )

    def _upload(self, run_id: str, record: Record) -> None:
        path = self._outbox.spool.folder / str(record.get("copy", record["path"]))
        upload = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        upload(run_id, str(path), record["artifact_path"])

    def _register(self, run_id: str, record: Record) -> None:
        name, source = record["name"], f"runs:/{run_id}/{_MODEL_FOLDER}"
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = self._client.search_model_versions(f"name = {_quoted(name)}")
        if run_id not in {version.run_id for version in known}:
            self._client.create_model_version(name, source, run_id, tags=record["tags"])

    def _find_or_create(self, record: Record) -> str:
        found = self._find(record["identity"])
        if found:
            self._client.update_run(found[0], status="RUNNING")
            return found[0]
        tags = {**record["tags"], **record["identity"]}
        if record["parent"]:
            tags["mlflow.parentRunId"] = self.resolve(record["parent"])
        run = self._client.create_run(
            self.experiment_id(), start_time=record["time"], tags=tags, run_name=record["name"]
        )
        return str(run.info.run_id)

    def _find(self, tags: Mapping[str, str], *conditions: str) -> list[str]:
        terms = [f"tags.`{name}` = {_quoted(value)}" for name, value in tags.items()]
        runs = self._client.search_runs(
            [self.experiment_id()], " and ".join([*terms, *conditions]), max_results=1000
        )
        return [str(run.info.run_id) for run in runs]

    def _answers(self) -> bool:
        try:
            self._client.search_experiments(max_results=1)
        except MlflowException:
            return False
        return True


def _local_folder(storage_path: str | Path) -> Path | None:
    text = str(storage_path)
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    return None if "://" in text else Path(text).expanduser().resolve()


def _chunks(items: Mapping[str, Any], size: int) -> Iterator[dict[str, Any]]:
    pairs = list(items.items())
    for start in range(0, len(pairs), size):
        yield dict(pairs[start : start + size])


def _quoted(value: str) -> str:
    quote = '"' if "'" in value else "'"
    return f"{quote}{value}{quote}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
