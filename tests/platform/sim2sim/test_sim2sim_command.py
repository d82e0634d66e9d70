"""`stridelab sim2sim` as its user meets it."""

import json

import imageio.v3 as iio
import pytest

from stridelab.cli.main import main
from stridelab_envs.robots import get_robot


@pytest.fixture
def stridelab(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["stridelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def options(shipped_layouts):
    return ("--model", get_robot("biped17").mjcf, "--layout", shipped_layouts / "biped17.yaml")


def test_json(stridelab, walker, options):
    code, out, err = stridelab("sim2sim", walker, *options, "--seconds", 0.4, "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["policy"] == str(walker)
    assert record["falls"] == 0
    assert record["time_survived"] == pytest.approx(0.4)
    assert record["command"] == [0.0, 0.0, 0.0]
    assert {"distance", "forward_velocity", "lateral_velocity", "yaw_rate"} <= record.keys()


def test_table_and_overrides(stridelab, walker, options):
    arguments = ("dynamics.damping=0.4", "--seconds", 0.2)
    code, out, _ = stridelab("sim2sim", walker, *options, *arguments)
    assert code == 0
    assert "0.20 of 0.2 s" in out
    assert "forward velocity" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--command", "fast"), '--command: expected vx,vy,yaw such as 0.5,0,0, got "fast"'),
        (("--command", "1,2"), "--command: expected vx,vy,yaw"),
        (("--command", "1,2,nan"), "--command: expected vx,vy,yaw"),
        (
            ("--command", "1,0,0"),
            "the layout has no term that --command could set (ang_vel_command, ",
        ),
        (("decimation=0",), 'override "decimation=0": must be at least 1, got 0'),
        (("decimation=5",), "control period is 0.025 s, but it was trained with 0.02 s"),
    ],
)
def test_mistakes_are_one_line(stridelab, walker, options, tmp_path, arguments, message):
    code, out, err = stridelab("sim2sim", walker, *options, "--video", "a.mp4", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert list((tmp_path / "here").iterdir()) == []


def test_files_that_are_not_there(stridelab, walker, options):
    assert (
        "nowhere.onnx: there is no such file" in stridelab("sim2sim", "nowhere.onnx", *options)[2]
    )
    wrong = ("--model", "nowhere.xml", *options[2:])
    assert "nowhere.xml: there is no such file" in stridelab("sim2sim", walker, *wrong)[2]
    wrong = (*options[:2], "--layout", "nowhere.yaml")
    assert "nowhere.yaml: there is no such file" in stridelab("sim2sim", walker, *wrong)[2]


@pytest.mark.render
def test_video_changes_nothing(stridelab, walker, options, tmp_path):
    try:
        from mujoco.egl import GLContext

        GLContext(64, 64).free()
    except Exception as error:
        pytest.skip(f"no headless OpenGL here: {error}")
    arguments = ("sim2sim", walker, *options, "--seconds", 0.4, "--json")
    plain = stridelab(*arguments)
    filmed = stridelab(*arguments, "--video", "walk.mp4")
    assert plain == filmed
    assert iio.imread(tmp_path / "here" / "walk.mp4", plugin="FFMPEG").shape[0] == 10
