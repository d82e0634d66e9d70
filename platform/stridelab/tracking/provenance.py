"""Where a run comes from: code version, package versions and the command that started it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from stridelab.tracking.names import shorten

COMMIT_VARIABLE, DIFF_VARIABLE = "STRIDELAB_GIT_COMMIT", "STRIDELAB_GIT_DIFF"
"""Set for submitted jobs, whose working directory is no checkout."""
PACKAGES = ("stridelab", "ray", "torch", "mujoco", "mlflow")
_GIT_TIMEOUT_S = 10.0
_MAX_DIFF = 1_000_000  # characters; a larger diff is data that should not be in the checkout
_PASSWORD_IN_URL = re.compile(r"(://)[^/@\s]+@")


def git_commit(folder: Path | None = None) -> str | None:
    """Return the commit hash of the checkout at ``folder`` (default: the working directory).

    Returns:
        Outside a checkout, or without git, the commit that a submitted job was packed from
        (environment variable ``STRIDELAB_GIT_COMMIT``); None when that is not known either.
    """
    return _git(["rev-parse", "--verify", "HEAD"], folder) or os.environ.get(COMMIT_VARIABLE)


def git_diff(folder: Path | None = None) -> str:
    """Return the uncommitted changes as a patch, headed by the names of untracked files.

    Returns:
        ``""`` for a clean tree. Outside a checkout, or without git, the file that a submitted job
        was packed with (environment variable ``STRIDELAB_GIT_DIFF``), else ``""``.
    """
    status = _git(["status", "--porcelain"], folder)
    if status is None:
        packed = Path(os.environ.get(DIFF_VARIABLE) or os.devnull)
        return packed.read_text(encoding="utf-8") if packed.exists() else ""
    untracked = [line[3:] for line in status.splitlines() if line.startswith("?? ")]
    header = "".join(f"# untracked: {name}\n" for name in untracked)
    patch = _git(["diff", "HEAD", "--no-color", "--no-ext-diff"], folder)
    return shorten(header + (f"{patch}\n" if patch else ""), _MAX_DIFF)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from source roots, or a slim installation
            continue
    return found


def command_line() -> str:
    """Return the command that started this process, without passwords inside URLs."""
    return without_password(shlex.join(sys.argv))


def without_password(text: str) -> str:
    """Return ``text`` with the user and password part of every URL replaced by ``***``."""
    return _PASSWORD_IN_URL.sub(r"\1***@", text)


def provenance_tags(folder: Path | None = None) -> dict[str, str]:
    """Return the tags every run carries: commit, dirty flag, versions, command.

    The ``mlflow.source.*`` tags fill the Source and Version columns of the MLflow UI. The name of
    the machine is left out on purpose: tracking servers are often shared.
    """
    command = command_line()
    tags = {f"stridelab.versions.{name}": version for name, version in versions().items()}
    tags |= {
        "stridelab.command": command,
        "mlflow.source.name": command,
        "mlflow.source.type": "LOCAL",
    }
    commit = git_commit(folder)
    if commit is not None:
        tags |= {
            "stridelab.git_commit": commit,
            "mlflow.source.git.commit": commit,
            "stridelab.git_dirty": "true" if git_diff(folder) else "false",
        }
    return tags


def _git(arguments: list[str], folder: Path | None) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None
