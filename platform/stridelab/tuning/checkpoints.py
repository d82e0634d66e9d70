"""Which checkpoints of a trial are whole, after a kill at the wrong moment."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from pyarrow import fs
from ray import tune

RECORD = "trial.json"
"""File of a checkpoint that says what it was made with, and which other files it has."""
FILES = "files"
"""Key of the record: path in the checkpoint to size [byte]."""


def files_of(folder: Path) -> dict[str, int]:
    """Return the files of a checkpoint being written, path in it to size [byte]."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kept(checkpoint: tune.Checkpoint) -> tune.Checkpoint:
    """Return a checkpoint, or where it is not whole any more the newest whole one after it.

    Tune deletes a checkpoint before it has written down which one it keeps instead; a driver that
    is killed in between only knows of the deleted one.
    """
    filesystem, path = checkpoint.filesystem, PurePosixPath(checkpoint.path)
    if _is_whole(filesystem, str(path)):
        return checkpoint
    beside = filesystem.get_file_info(fs.FileSelector(str(path.parent), allow_not_found=True))
    prefix = path.name.rpartition("_")[0] + "_"
    after = [
        info.path
        for info in beside
        if info.base_name.startswith(prefix) and info.base_name > path.name
    ]
    for candidate in sorted(after, reverse=True):
        if _is_whole(filesystem, candidate):
            return tune.Checkpoint(candidate, filesystem)
    return checkpoint


def newest_whole(folder: Path) -> Path | None:
    """Return the whole checkpoint in ``folder``, at any depth, that was written last."""
    local = fs.LocalFileSystem()
    try:
        records = [(path.stat().st_mtime_ns, path.parent) for path in folder.rglob(RECORD)]
    except FileNotFoundError:  # Tune deletes old ones while we look
        return None
    for _, path in sorted(records, reverse=True):
        if _is_whole(local, str(path)):
            return path
    return None


def _is_whole(filesystem: fs.FileSystem, path: str) -> bool:
    """Say whether all files are there, in full."""
    try:
        with filesystem.open_input_stream(f"{path}/{RECORD}") as stream:
            expected: dict[str, int] = json.loads(stream.read())[FILES]
    except (OSError, KeyError, ValueError):
        return False
    found = filesystem.get_file_info([f"{path}/{name}" for name in expected])
    return all(info.size == size for info, size in zip(found, expected.values(), strict=True))
