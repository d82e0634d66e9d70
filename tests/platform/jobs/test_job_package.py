"""What a job carries to the cluster."""

import subprocess
import sys
from importlib import metadata

import pytest

from stridelab.experiment import load_experiment, parse_experiment
from stridelab.jobs import package
from stridelab.jobs.package import for_cluster, pack, requirements
from stridelab_envs.errors import ConfigError, UserError


@pytest.fixture(autouse=True)
def _no_checkout(monkeypatch):
    monkeypatch.setattr(package, "git_commit", lambda: None)


@pytest.fixture
def experiment(tiny):
    return parse_experiment(tiny)


def test_experiment_and_sources_and_nothing_else(experiment, tmp_path):
    packed = pack(experiment, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "experiment.yaml",
        "stridelab",
        "stridelab_envs",
    }
    assert load_experiment(tmp_path / "experiment.yaml") == experiment
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {str(path.relative_to(tmp_path)) for path in files}
    assert {
        "stridelab/cli/main.py",
        "stridelab_envs/robots/biped17/biped17.xml",
        "stridelab_envs/tasks/biped_walk.yaml",
    } <= names
    assert not [name for name in names if "__pycache__" in name or "/." in name]
    assert packed.num_files == len(files)
    assert packed.num_bytes == sum(path.stat().st_size for path in files)
    assert packed.num_bytes < 5e6
    assert packed.env_vars == {}


def test_caches_and_hidden_files_stay_here(experiment, tmp_path, monkeypatch):
    source = tmp_path / "source"
    for name in ("__init__.py", "deep/good.py", "__pycache__/a.pyc", "deep/b.pyc", ".git/HEAD"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    module = type("Module", (), {"__file__": str(source / "__init__.py")})
    monkeypatch.setattr(package, "_SOURCES", (module,))
    folder = tmp_path / "folder"
    folder.mkdir()
    pack(experiment, folder)
    packed = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert packed == {"experiment.yaml", "source/__init__.py", "source/deep/good.py"}


def test_the_uploaded_sources_are_those_that_run(experiment, tmp_path):
    pack(experiment, tmp_path)
    code = "import stridelab, stridelab_envs; print(stridelab.__file__, stridelab_envs.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(path.startswith(str(tmp_path)) for path in done.stdout.split())


def test_code_version_goes_along(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "git_commit", lambda: "c0ffee")
    monkeypatch.setattr(package, "git_diff", lambda: "the diff")
    packed = pack(experiment, tmp_path)
    assert packed.env_vars["STRIDELAB_GIT_COMMIT"] == "c0ffee"
    assert (tmp_path / packed.env_vars["STRIDELAB_GIT_DIFF"]).read_text() == "the diff"


def test_a_clean_checkout_has_no_diff(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "git_commit", lambda: "c0ffee")
    monkeypatch.setattr(package, "git_diff", lambda: "")
    assert pack(experiment, tmp_path).env_vars == {"STRIDELAB_GIT_COMMIT": "c0ffee"}
    assert not (tmp_path / package.DIFF_FILE).exists()


def test_too_large(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "MAX_BYTES", 100_000)
    with pytest.raises(UserError, match=r"^the upload has \d\.\d MB, Ray takes 0\.1 MB; the lar"):
        pack(experiment, tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("runs", "~/stridelab/runs"),
        ("deep/runs", "~/stridelab/deep/runs"),
        ("/mnt/shared", "/mnt/shared"),
        ("~/runs", "~/runs"),
        ("s3://bucket/runs", "s3://bucket/runs"),
    ],
)
def test_storage_path(experiment, path, expected):
    experiment = experiment.with_values({"resources.storage_path": path})
    placed = for_cluster(experiment)
    assert placed.resources.storage_path == expected
    assert placed == experiment.with_values({"resources.storage_path": expected})


@pytest.mark.parametrize("uri", [None, "http://host:5000", "sqlite:////mnt/mlflow.db"])
def test_tracking_that_a_job_can_reach(experiment, uri):
    experiment = experiment.with_values({"tracking.uri": uri})
    assert for_cluster(experiment).tracking.uri == uri


def test_tracking_file_that_would_be_deleted(experiment):
    experiment = experiment.with_values({"tracking.uri": "sqlite:///runs/mlflow.db"})
    with pytest.raises(ConfigError, match=r'"sqlite:///runs/mlflow.db" is relative') as caught:
        for_cluster(experiment)
    assert caught.value.path == "tracking.uri"


def test_command_and_digest(experiment, tiny, tmp_path):
    def packed(experiment, name):
        folder = tmp_path / name
        folder.mkdir()
        return pack(experiment, folder)

    once, again = packed(experiment, "a"), packed(parse_experiment(tiny), "b")
    other = packed(experiment.with_values({"algorithm.gamma": 0.5}), "c")
    swept = {"parameters": {"algorithm.gamma": [0.9]}}
    sweep = packed(parse_experiment(tiny | {"sweep": swept}), "d")
    assert once.digest == again.digest
    assert len({once.digest, other.digest, sweep.digest}) == 3
    assert [once.command, sweep.command] == ["train", "sweep"]


def test_requirements_are_pinned_to_what_is_installed_here():
    pinned = requirements()
    assert f"mujoco=={metadata.version('mujoco')}" in pinned
    assert f"imageio[ffmpeg]=={metadata.version('imageio')}" in pinned
    # The cluster's own Ray runs the job; tools for development have no place there.
    assert not [line for line in pinned if line.startswith(("ray", "pytest", "ruff"))]


def test_requirements_have_public_versions(monkeypatch):
    declared = ["torch>=2", "ray[tune]==2.60.0", "pytest>=8; extra == 'dev'", "numpy>=2"]
    monkeypatch.setattr(metadata, "requires", lambda name: declared)
    versions = {"torch": "2.13.0+cpu", "numpy": "2.4.6"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    assert requirements() == ["torch==2.13.0", "numpy==2.4.6"]


def test_requirements_of_a_package_that_is_not_installed(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    with pytest.raises(UserError, match="not installed here"):
        requirements()
