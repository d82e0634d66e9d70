"""Records that the tracking server could not take yet, kept on disk in their order."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger(__name__)

Record = dict[str, Any]

_HEADER_BYTES = 32


class Spool:
    """A queue in a file, one JSON record a line.

    Each process that spools holds a locked file of its own, so that two processes may share a
    folder; files whose owner is gone are taken over, oldest first, when a spool is opened. The
    first line of a file says where the records begin that were not sent; it is removed when all
    were. All records can be sent twice without harm: after a crash those on their way are.

    Args:
        folder: Where the files lie; made when the first record comes.
        owner: File name prefix; only files of the same owner are taken over.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self.folder = folder
        self.pending = 0
        self._owner = owner
        self._path: Path | None = None
        self._file: IO[bytes] | None = None
        self._position = _HEADER_BYTES  # in the file, where the next record to send starts
        self._take_over()

    def append(self, record: Record) -> None:
        """Put ``record`` at the end of the queue.

        Raises:
            OSError: If the disk does not take it; the queue is then as before.
        """
        file = self._open()
        end = file.seek(0, os.SEEK_END)
        try:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
        except OSError:
            file.truncate(end)
            raise
        self.pending += 1

    def peek(self) -> Iterator[Record]:
        """Read records, oldest first, without removing them."""
        if self.pending:
            file = self._open()
            file.seek(self._position)
            for _ in range(self.pending):
                yield json.loads(file.readline())

    def pop(self, count: int = 1, *, keep_copies: bool = False) -> None:
        """Remove the oldest records and the files copied for them; with the last one the file."""
        file = self._open()
        file.seek(self._position)
        records: list[Record] = [json.loads(file.readline()) for _ in range(count)]
        self._position = file.tell()
        self.pending -= count
        if self.pending:
            os.pwrite(file.fileno(), _header(self._position), 0)
        else:
            self._remove()
        for record in records:
            if "copy" in record and not keep_copies:
                shutil.rmtree((self.folder / record["copy"]).parent, ignore_errors=True)

    def reject(self, record: Record, reason: str) -> None:
        """Put a record that the server refuses for good into ``rejected.jsonl``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "rejected.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"reason": reason, **record}) + "\n")

    def keep_copy(self, path: Path) -> str:
        """Copy a file or folder into the spool and return its path relative to the spool."""
        target = self.folder / "files" / uuid.uuid4().hex / path.name
        target.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy2(path, target)
        return str(target.relative_to(self.folder))

    def _open(self) -> IO[bytes]:
        while self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._path = self.folder / f"{self._owner}-{uuid.uuid4().hex[:8]}.jsonl"
            self._path.write_bytes(_header(_HEADER_BYTES))
            self._file = _claim(self._path)
        return self._file

    def _remove(self) -> None:
        assert self._file is not None and self._path is not None
        self._path.unlink(missing_ok=True)
        self._file.close()
        self._file, self._path, self._position = None, None, _HEADER_BYTES

    def _take_over(self) -> None:
        left_over = sorted(self.folder.glob(f"{self._owner}-*.jsonl"), key=_age)
        for path in left_over:
            file = _claim(path)
            if file is None:
                continue
            with file:
                file.seek(_unsent(file))
                for line in file:
                    try:
                        self.append(json.loads(line))
                    except json.JSONDecodeError:  # the last line of a process that was killed
                        logger.warning("tracking: skipped a torn record in %s", path)
                path.unlink()


def _header(position: int) -> bytes:
    return json.dumps({"unsent": position}).ljust(_HEADER_BYTES - 1).encode() + b"\n"


def _unsent(file: IO[bytes]) -> int:
    """Return where the records of a file begin that were not sent [byte]."""
    try:
        return int(json.loads(file.read(_HEADER_BYTES))["unsent"])
    except (ValueError, KeyError):  # not whole, or written before there was such a line
        return 0


def _claim(path: Path) -> IO[bytes] | None:
    """Open and lock ``path``; None when another process holds it or has just removed it."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
