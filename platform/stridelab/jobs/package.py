"""What a job carries to the cluster: the experiment as one file, and the sources that run it."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.version import Version

import stridelab
import stridelab_envs
from stridelab.experiment import Experiment
from stridelab.tracking.provenance import git_commit, git_diff
from stridelab_envs.errors import ConfigError, UserError

EXPERIMENT_FILE = "experiment.yaml"
DIFF_FILE = "git_diff.patch"
CLUSTER_FOLDER = "~/stridelab"
"""Where a relative storage path begins on the cluster: a job's working directory is deleted."""
MAX_BYTES = 100 * 1024**2
"""Largest request that Ray's dashboard takes [bytes] (DASHBOARD_CLIENT_MAX_SIZE of Ray 2.60)."""

_SOURCES = (stridelab, stridelab_envs)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True)
class Package:
    """A folder that is ready to be a job's working directory."""

    folder: Path
    experiment: Experiment
    num_files: int
    num_bytes: int
    """Size of all files before compression [bytes]."""
    env_vars: dict[str, str]
    """Environment of the job: where its code comes from, which no checkout there can tell."""

    @property
    def command(self) -> str:
        """The stridelab command that runs the experiment."""
        return "sweep" if self.experiment.is_sweep else "train"

    @property
    def digest(self) -> str:
        """Names the content of the experiment; equal for equal experiments."""
        return hashlib.sha256(self.experiment.to_yaml().encode()).hexdigest()[:16]


def for_cluster(experiment: Experiment) -> Experiment:
    """Return the experiment with a storage path that is the same wherever it is read.

    A relative storage path is put under :data:`CLUSTER_FOLDER`.

    Raises:
        ConfigError: If the tracking store is a file named relative to this directory.
    """
    uri = experiment.tracking.uri or ""
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        raise ConfigError(
            "tracking.uri",
            f'"{uri}" is relative, and a job\'s working directory is deleted; name a server '
            "(http://...), an absolute file (sqlite:////...), or null for the storage path",
        )
    path = experiment.resources.storage_path
    if not is_relative(path):
        return experiment
    moved = experiment.resources.model_copy(update={"storage_path": f"{CLUSTER_FOLDER}/{path}"})
    return experiment.model_copy(update={"resources": moved})


def is_relative(storage_path: str) -> bool:
    """Whether a storage path means another folder in every working directory."""
    absolute = PurePosixPath(storage_path).is_absolute()
    return not (absolute or storage_path.startswith("~") or "://" in storage_path)


def pack(experiment: Experiment, folder: Path) -> Package:
    """Fill an empty folder with what a job needs: the experiment and the sources, nothing else.

    Raises:
        UserError: If it is more than Ray takes.
    """
    (folder / EXPERIMENT_FILE).write_text(experiment.to_yaml(), encoding="utf-8")
    for module in _SOURCES:
        source = Path(str(module.__file__)).parent
        shutil.copytree(source, folder / source.name, ignore=_LEFT_OUT)
    env_vars = {}
    if commit := git_commit():
        env_vars["STRIDELAB_GIT_COMMIT"] = commit
        if diff := git_diff():
            (folder / DIFF_FILE).write_text(diff, encoding="utf-8")
            env_vars["STRIDELAB_GIT_DIFF"] = DIFF_FILE
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    total = sum(sizes.values())
    if total > MAX_BYTES:
        largest = max(sizes, key=lambda path: sizes[path])
        raise UserError(
            f"the upload has {megabytes(total)}, Ray takes {megabytes(MAX_BYTES)}; the largest "
            f"file is {largest.relative_to(folder)} with {megabytes(sizes[largest])}"
        )
    return Package(folder, experiment, len(sizes), total, env_vars)


def megabytes(num_bytes: int) -> str:
    """Return a size as text, such as ``0.5 MB``."""
    return f"{num_bytes / 1e6:.1f} MB"


def requirements() -> list[str]:
    """Return this package's requirements in the versions installed here, Ray left out.

    Ray is what the job runs under: its version is the cluster's.

    Raises:
        UserError: If the package was never installed, so that nobody knows them.
    """
    try:
        declared = metadata.requires("stridelab") or []
    except metadata.PackageNotFoundError:
        raise UserError("--pip: stridelab is not installed here, only on the path") from None
    pinned = []
    for requirement in map(Requirement, declared):
        if requirement.marker is not None or requirement.name == "ray":
            continue
        # Without a local part such as +cpu: package indexes know the public version alone.
        version = Version(metadata.version(requirement.name)).public
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        pinned.append(f"{requirement.name}{extras}=={version}")
    return pinned
