"""Writing files so that a reader sees the old one or the whole new one, never a part."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stridelab_envs.errors import UserError


def scratch_path(path: Path) -> Path:
    """Return a hidden name beside ``path``, with its suffix, for a file that is not complete."""
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a scratch file to write; it takes the name ``path`` when the block ends well.

    Missing folders are made. When the block raises, ``path`` stays as it was and the scratch file
    is removed.

    Raises:
        UserError: ``path`` is a folder.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; a file's name is needed")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_path(path)
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """Return nested data with None, JSON's null, for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    """Write nested data as JSON in one step; numbers that are not finite become null."""
    text = json.dumps(finite(value), indent=2, allow_nan=False)
    with replacing(path) as scratch:
        scratch.write_text(text + "\n", encoding="utf-8")
