"""A second copy of what Tune knows of a study: its own is not whole while it is being written."""

from __future__ import annotations

import base64
import json
import pickletools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyarrow import fs
from ray.tune import Callback

from stridelab.tuning.storage import StorageFolder

_COPY = "state.json"
_STATE = "experiment_state-"
"""How Tune's file with the trials begins; the session follows, and is part of all its files."""
_PERIOD_S = 10.0
"""Least time between two copies [s]; Tune itself writes about as often."""


class SnapshotKeeper(Callback):
    """Copies the state that Tune has written on the driver into one file of the study's folder.

    Args:
        folder: Where Tune keeps the study.
    """

    def __init__(self, folder: StorageFolder) -> None:
        self.folder = folder
        self._written_at = 0
        self._next_look = 0.0

    def on_step_end(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        """Copy what is new; Tune writes between two steps, so it is whole now."""
        if not trials or time.monotonic() < self._next_look:
            return
        place = Path(trials[0].storage.experiment_driver_staging_path)
        states = sorted(place.glob(f"{_STATE}*"))
        if not states or states[-1].stat().st_mtime_ns == self._written_at:
            return
        self._written_at = states[-1].stat().st_mtime_ns
        session = states[-1].stem.removeprefix(_STATE)
        files = {
            path.name: base64.b64encode(path.read_bytes()).decode()
            for path in place.glob(f"*{session}*")
            if path.is_file()
        }
        self.folder.write_text(_COPY, json.dumps(files))
        self._next_look = time.monotonic() + _PERIOD_S


def mend(folder: StorageFolder) -> None:
    """Put the copy in the place of Tune's files, where one of those is not whole."""
    found = folder.filesystem.get_file_info(fs.FileSelector(folder.path, allow_not_found=True))
    names = sorted(info.base_name for info in found if info.is_file)
    states = [name for name in names if name.startswith(_STATE)]
    session = Path(states[-1]).stem.removeprefix(_STATE) if states else ""
    latest = [name for name in names if session and session in name]
    if _COPY in names and not (latest and all(_is_whole(folder, name) for name in latest)):
        for name, content in json.loads(folder.read_text(_COPY)).items():
            folder.write_bytes(name, base64.b64decode(content))


def _is_whole(folder: StorageFolder, name: str) -> bool:
    """Say whether a file is all of a JSON text or all of a pickle."""
    content = folder.read_bytes(name)
    try:
        json.loads(content)
    except ValueError:  # also what is no text at all
        try:
            for _ in pickletools.genops(content):
                pass
        except ValueError:
            return False
    return True
