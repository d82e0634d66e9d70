"""Rules of the house that a machine can hold."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*ROOT.glob("platform/**/*.py"), *ROOT.glob("envs/**/*.py")])


def requirement_name(line):
    return re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-")


def test_there_are_sources():
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_file_is_over_500_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_source_roots_are_no_packages():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "envs" / "__init__.py").exists()


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {requirement_name(line) for line in project["dependencies"]}
    wanted |= {requirement_name(line) for line in project["optional-dependencies"]["dev"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {requirement_name(line) for line in lines if "==" in line}
    assert wanted - pinned == set()


def test_ci_runs_what_a_person_runs():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_wheel_holds_all_files_and_no_platform_module(tmp_path):
    source = tmp_path / "source"  # building leaves traces beside the sources
    for folder in ("platform", "envs"):
        shutil.copytree(ROOT / folder, source / folder)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True, timeout=300)
    [wheel] = tmp_path.glob("stridelab-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "stridelab",
        "stridelab_envs",
    }
    for path in SOURCES:
        assert path.relative_to(ROOT).as_posix().split("/", 1)[1] in names
    for wanted in (
        *("robots/biped17/biped17.xml", "tasks/biped_walk.yaml", "tasks/h1_states.npz", "py.typed"),
    ):
        assert f"stridelab_envs/{wanted}" in names
    assets = (ROOT / "platform" / "stridelab" / "compare" / "assets").iterdir()
    assert {f"stridelab/compare/assets/{asset.name}" for asset in assets} <= names
