"""The folder of a study: where Tune keeps it, and what it was started with."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from stridelab.evaluation.files import replacing
from stridelab.experiment import Experiment
from stridelab_envs.errors import UserError

_STUDIES = "studies"
"""Folder in the storage path that holds one folder a study."""
_RECORD = "study.json"


@dataclass(frozen=True)
class StudyFolder:
    """A study on disk."""

    path: Path
    """Folder that Tune writes to."""
    sweep_id: str
    """Names the study in MLflow, also after it was resumed."""


def storage_folder(experiment: Experiment) -> Path:
    """Return the absolute folder for all results of an experiment."""
    return Path(experiment.resources.storage_path).expanduser().resolve()


def create(experiment: Experiment) -> StudyFolder:
    """Make the folder of a new study: the experiment's name, or the name and the next number.

    Raises:
        UserError: If the storage path cannot be written.
    """
    root = storage_folder(experiment) / _STUDIES
    number = 1
    while (path := numbered(root, experiment.name, number)).exists():
        number += 1
    study = StudyFolder(path, f"{path.name}-{uuid.uuid4().hex[:8]}")
    record = {"sweep_id": study.sweep_id, "experiment": experiment.to_dict()}
    try:
        with replacing(path / _RECORD) as scratch:
            scratch.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return study


def reopen(experiment: Experiment) -> StudyFolder:
    """Return the newest study of an experiment's name.

    Raises:
        UserError: If there is none, or it was started with other settings than ``experiment``.
    """
    root = storage_folder(experiment) / _STUDIES
    number = 1
    while numbered(root, experiment.name, number + 1).exists():
        number += 1
    path = numbered(root, experiment.name, number)
    if not path.exists():
        raise UserError(f'there is no study "{experiment.name}" to resume in {root}')
    try:
        record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
        sweep_id, started_with = str(record["sweep_id"]), record["experiment"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path}: no readable {_RECORD}; start the study again") from None
    difference = _first_difference(started_with, experiment.to_dict(), "")
    if difference is not None:
        raise UserError(f"{path}: was started with another {difference}; start a new study for it")
    return StudyFolder(path, sweep_id)


def numbered(root: Path, name: str, number: int) -> Path:
    """Return the folder of the study that is number ``number`` of its name, from 1."""
    # "@" stands in no experiment's name, so numbered names are nobody else's.
    return root / (name if number == 1 else f"{name}@{number}")


def _first_difference(before: object, now: object, path: str) -> str | None:
    """Name the first key whose value differs, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            inner = _first_difference(
                before.get(key), now.get(key), f"{path}.{key}" if path else key
            )
            if inner is not None:
                return inner
        return None
    return None if before == now else f"{path} ({before!r}, now {now!r})"
