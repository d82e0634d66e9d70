"""The folder of a study: where Tune keeps it, and what it was started with."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from stridelab.experiment import Experiment, parse_experiment
from stridelab.tuning.storage import StorageFolder, open_storage
from stridelab_envs.errors import UserError

_STUDIES = "studies"
"""Folder in the storage path that holds one folder a study."""
_RECORD = "study.json"
_MAY_CHANGE = ("description", "on_existing", "resources")
"""Keys of the experiment that a resumed study may change: they do not change what is learned."""


@dataclass(frozen=True)
class StudyFolder:
    """A study in the storage."""

    folder: StorageFolder
    """Folder of the study; Tune writes to it, or to one folder in it for each stage."""
    sweep_id: str
    """Names the study in MLflow, also after it was resumed."""

    @property
    def name(self) -> str:
        """The experiment's name, with a number from the second study on."""
        return self.folder.name


def existing_study(experiment: Experiment, *, resume: bool) -> StudyFolder | None:
    """Return the study to go on with, None to begin one.

    What happens when there is one of this name is up to ``experiment.on_existing``.

    Args:
        experiment: What to run.
        resume: Go on with the newest study of this name, whatever ``on_existing`` says.

    Raises:
        UserError: There is none to resume, there is one and none is wanted, or the one that is
            there was started with other settings.
    """
    root = _root(experiment)
    newest = _newest(root, experiment.name)
    if newest is None:
        if resume:
            raise UserError(f'there is no study "{experiment.name}" to resume in {root.address}')
        return None
    folder = numbered(root, experiment.name, newest)
    if resume or experiment.on_existing == "resume":
        return _reopen(folder, experiment)
    if experiment.on_existing == "refuse":
        raise UserError(
            f"{folder.address}: is there already, and on_existing is refuse; choose another name, "
            "resume it, or restart"
        )
    return None


def create_study(experiment: Experiment) -> StudyFolder:
    """Make the folder of a new study: the experiment's name, or the name and the next number.

    Raises:
        UserError: If the storage path cannot be written.
    """
    root = _root(experiment)
    folder = numbered(root, experiment.name, (_newest(root, experiment.name) or 0) + 1)
    study = StudyFolder(folder, f"{folder.name}-{uuid.uuid4().hex[:8]}")
    record = {"sweep_id": study.sweep_id, "experiment": experiment.to_dict()}
    try:
        folder.write_text(_RECORD, json.dumps(record, indent=2) + "\n")
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise UserError(f"{folder.address}: cannot be written: {reason}") from None
    return study


def numbered(root: StorageFolder, name: str, number: int) -> StorageFolder:
    """Return the folder of the study that is number ``number`` of its name, from 1."""
    # "@" stands in no experiment's name, so numbered names are nobody else's.
    return root.child(name if number == 1 else f"{name}@{number}")


def _root(experiment: Experiment) -> StorageFolder:
    return open_storage(experiment.resources.storage_path).child(_STUDIES)


def _newest(root: StorageFolder, name: str) -> int | None:
    number = 0
    while numbered(root, name, number + 1).exists():
        number += 1
    return number or None


def _reopen(folder: StorageFolder, experiment: Experiment) -> StudyFolder:
    try:
        record = json.loads(folder.read_text(_RECORD))
        sweep_id, started_with = str(record["sweep_id"]), parse_experiment(record["experiment"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder.address}: no readable {_RECORD}; start the study again") from None
    difference = _first_difference(_kept(started_with), _kept(experiment), "")
    if difference is not None:
        raise UserError(
            f"{folder.address}: was started with another {difference}; start a new study for it"
        )
    return StudyFolder(folder, sweep_id)


def _kept(experiment: Experiment) -> dict[str, Any]:
    """Return what a resumed study must have in common with the one that was started."""
    return {key: value for key, value in experiment.to_dict().items() if key not in _MAY_CHANGE}


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
