"""``stridelab new``: what is written installs, passes its own tests, and can be trained."""

import json
import os
import subprocess
import sys

import pytest

from stridelab.cli.main import main
from stridelab_envs.robots import get_robot


@pytest.fixture
def new(monkeypatch, capsys, tmp_path):
    """Run ``stridelab new`` in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["stridelab", "new", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def refused(new, folder, *arguments):
    before = sorted(folder.rglob("*"))
    code, out, err = new(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before, "something was written"
    return err.removeprefix("error: ").strip()


def test_a_robot_from_a_maker_s_scene(new, motorised, tmp_path):
    path, _ = motorised("biped17")
    code, out, err = new("robot", "acme", "--from", path)
    assert (code, out) == (0, "stridelab-acme\n")
    assert "acme: 3.32 kg, " in err
    assert " 17 joints, feet left_foot, right_foot" in err
    package = tmp_path / "work" / "stridelab-acme" / "stridelab_acme"
    assert (package / "assets" / "badge.obj").is_file()
    spaces = {}
    exec((package / "__init__.py").read_text(), {"__file__": str(package / "x")}, spaces)
    spec, shipped = spaces["SPEC"], get_robot("biped17")
    assert (spec.name, spec.mjcf) == ("acme", package / "acme.xml")
    for field in ("joints", "feet", "mirror", "base_body"):
        assert getattr(spec, field) == getattr(shipped, field)
    assert spec.default_pose == pytest.approx(shipped.default_pose)
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["stridelab-acme"]


def test_two_meshes_of_one_name(new, motorised, tmp_path):
    path, _ = motorised("biped17")
    text = (tmp_path / "robot.xml").read_text()
    mesh = '<mesh name="badge" content_type="model/obj" file="badge.obj"/>'
    assert mesh in text
    (tmp_path / "assets" / "other").mkdir()
    (tmp_path / "assets" / "other" / "badge.obj").write_text(
        (tmp_path / "assets" / "badge.obj").read_text().replace(".02", ".05")
    )
    second = mesh.replace('name="badge"', 'name="big"').replace('file="', 'file="other/')
    (tmp_path / "robot.xml").write_text(text.replace(mesh, mesh + second))
    assert new("robot", "acme", "--from", path)[0] == 0
    assets = tmp_path / "work" / "stridelab-acme" / "stridelab_acme" / "assets"
    assert sorted(asset.name for asset in assets.iterdir()) == ["badge.obj", "badge_2.obj"]
    assert ".05" in (assets / "badge_2.obj").read_text()


def test_a_robot_that_cannot_stand_is_written_with_a_warning(new, urdf):
    text = urdf.read_text().replace('effort="20"', 'effort="0.01"')
    forward = '<inertial><origin xyz=".3 0 0"/><mass value="4"/>'
    urdf.write_text(text.replace('<inertial><mass value="4"/>', forward))
    code, _, err = new("robot", "acme", "--from", urdf)
    assert code == 0
    assert "! holding its default pose the robot falls after 0." in err


class TestMistakes:
    def test_names(self, new, tmp_path):
        line = refused(new, tmp_path, "robot", "Acme-1", "--from", "x.xml")
        assert line == 'robot "Acme-1": must be lower-case letters, digits and _, like acme_one'
        line = refused(new, tmp_path, "robot", "h1", "--from", "x.xml")
        assert line == 'a robot called "h1" exists already'
        line = refused(new, tmp_path, "task", "biped_walk", "--robot", "h1")
        assert line == 'a task called "biped_walk" exists already'
        line = refused(new, tmp_path, "task", "envs", "--robot", "h1")
        assert line == 'a package called "stridelab_envs" is installed already'

    def test_unknown_robot(self, new, tmp_path):
        line = refused(new, tmp_path, "task", "hop", "--robot", "h11")
        assert line.startswith('robot: unknown robot "h11"; did you mean "h1"? (known: ')

    def test_folders(self, new, tmp_path):
        (tmp_path / "work" / "stridelab-hop").mkdir()
        line = refused(new, tmp_path, "task", "hop", "--robot", "h1")
        assert line == "stridelab-hop: exists already"
        line = refused(new, tmp_path, "task", "hop", "--robot", "h1", "--output", "no/where")
        assert line == "no/where: there is no such folder"

    def test_a_model_that_cannot_be_used(self, new, tmp_path):
        (tmp_path / "work" / "bad.xml").write_text("<mujoco/>")
        line = refused(new, tmp_path, "robot", "acme", "--from", "bad.xml")
        assert line == "bad.xml: must hold one robot, got 0 root bodies ()"


@pytest.mark.slow
def test_new_packages_install_and_pass_their_own_tests(new, urdf, tmp_path):
    work, target = tmp_path / "work", tmp_path / "site"
    assert new("robot", "acme", "--from", urdf)[0] == 0
    assert new("task", "acme_walk", "--robot", "biped17")[0] == 0
    packages = [work / "stridelab-acme", work / "stridelab-acme-walk"]
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, *pip, "--target", str(target), *map(str, packages)],
        check=True, timeout=300,
    )  # fmt: skip
    path = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tests = [str(package / "tests") for package in packages]
    assert "5 passed" in python("pytest", "-q", "-p", "no:cacheprovider", *tests)
    found = json.loads(python("stridelab.cli.main", "tasks", "--json"))
    assert {"id": "acme_walk", "robot": "biped17"}.items() <= found[0].items()
