"""Where studies lie: a folder on a disk, on a shared file system, or in an object store."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import pyarrow
import ray
from pyarrow import fs
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from stridelab_envs.errors import UserError

_PATIENCE_S = 120.0
"""How long the nodes may take to look for a file [s]."""


@dataclass(frozen=True)
class StorageFolder:
    """A folder for results; made by :func:`open_storage`."""

    address: str
    """Absolute path, or address such as ``s3://bucket/runs``."""
    path: str
    """The path on :attr:`filesystem`."""
    filesystem: fs.FileSystem

    @property
    def local(self) -> Path | None:
        """The folder as a local path, None in an object store."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.path).name

    def child(self, *names: str) -> StorageFolder:
        """Return a folder inside this one."""
        base, question, query = self.address.partition("?")  # s3://bucket/runs?region=...
        address = "/".join([base.rstrip("/"), *names]) + question + query
        return StorageFolder(address, PurePosixPath(self.path, *names).as_posix(), self.filesystem)

    @property
    def ray_filesystem(self) -> fs.FileSystem | None:
        """The file system as Ray's ``storage_filesystem``: None where Ray finds it by itself."""
        return self.filesystem if isinstance(self.filesystem, fs.PyFileSystem) else None

    @property
    def ray_path(self) -> str:
        """The place as Ray's ``storage_path``, beside :attr:`ray_filesystem`."""
        return self.address if self.ray_filesystem is None else self.path

    def exists(self, file: str = "") -> bool:
        """Whether the folder, or a file in it, exists."""
        found = self.filesystem.get_file_info(self._file(file))
        return bool(found.type != fs.FileType.NotFound)

    def read_text(self, file: str) -> str:
        """Return the content of a file.

        Raises:
            OSError: It cannot be read.
        """
        return self.read_bytes(file).decode("utf-8")

    def read_bytes(self, file: str) -> bytes:
        """Return the content of a file, see :meth:`read_text`."""
        with self.filesystem.open_input_stream(self._file(file)) as stream:
            return bytes(stream.read())

    def write_text(self, file: str, text: str) -> None:
        """Write a file; readers see the old one or the whole new one.

        Raises:
            OSError: It cannot be written.
        """
        self.write_bytes(file, text.encode("utf-8"))

    def write_bytes(self, file: str, content: bytes) -> None:
        """Write a file, see :meth:`write_text`."""
        self.filesystem.create_dir(self.path, recursive=True)
        # Object stores show a file when it is complete; on a disk a new name takes care of that.
        scratch = f".{file}.{uuid.uuid4().hex}.tmp" if self.local else file
        with self.filesystem.open_output_stream(self._file(scratch)) as stream:
            stream.write(content)
        if scratch != file:
            self.filesystem.move(self._file(scratch), self._file(file))

    def delete(self, file: str) -> None:
        """Remove a file."""
        self.filesystem.delete_file(self._file(file))

    def _file(self, file: str) -> str:
        return PurePosixPath(self.path, file).as_posix()


def open_storage(storage_path: str) -> StorageFolder:
    """Return the folder that ``resources.storage_path`` names; it need not exist.

    Args:
        storage_path: A path (``~`` and relative ones are resolved here), or an address that
            pyarrow or fsspec knows.

    Raises:
        UserError: There is no such kind of storage, or it cannot be reached.
    """
    if "://" not in storage_path:
        path = str(Path(storage_path).expanduser().resolve())
        return StorageFolder(path, path, fs.LocalFileSystem())
    try:
        filesystem, path = fs.FileSystem.from_uri(storage_path)
    except pyarrow.ArrowInvalid:
        filesystem, path = _from_fsspec(storage_path)
    except (OSError, ValueError, TypeError) as error:
        raise _unreachable(storage_path, error) from error
    return StorageFolder(storage_path, path, filesystem)


def _from_fsspec(storage_path: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(storage_path)
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise _unreachable(storage_path, error) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(path)


def _unreachable(storage_path: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f'resources.storage_path "{storage_path}": {reason}')


def check_nodes_see(storage: StorageFolder) -> None:
    """Make sure that every node of the cluster sees the folder, before anything is trained.

    Raises:
        UserError: It cannot be written, or a node does not see what was written.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if storage.local is not None and len(nodes) == 1:
        return
    marker = f".stridelab-{uuid.uuid4().hex}"
    try:
        storage.write_text(marker, "Can every node see this?\n")
    except OSError as error:
        raise _unreachable(storage.address, error) from error
    try:
        answers = ray.get([_look(storage, marker, node) for node in nodes], timeout=_PATIENCE_S)
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"{storage.address}: not every node answered within {_PATIENCE_S:g} s whether it sees "
            "the storage path"
        ) from None
    finally:
        storage.delete(marker)
    addresses = [node["NodeManagerAddress"] for node in nodes]
    blind = sorted({a for a, sees in zip(addresses, answers, strict=True) if not sees})
    if blind:
        raise UserError(
            f"{storage.address}: not visible on node {', '.join(blind)}; with several nodes "
            "resources.storage_path must be a shared folder (/mnt/...) or an object store "
            "(s3://...)"
        )


def _look(storage: StorageFolder, marker: str, node: dict[str, Any]) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look = ray.remote(_sees).options(num_cpus=0, scheduling_strategy=strategy)
    return look.remote(storage.address, marker)


def _sees(address: str, marker: str) -> bool:
    """Whether the file is there, as seen by this process; so each node resolves the address."""
    try:
        return open_storage(address).exists(marker)
    except (OSError, UserError):
        return False
