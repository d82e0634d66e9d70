"""``stridelab check``: exit code, tables and JSON."""

import json

import pytest
import yaml

from stridelab.cli.main import main

SMALL = ("--num-envs", "2", "--seconds", "0.1")


@pytest.fixture
def stridelab(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["stridelab", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_tables(stridelab):
    code, out, _ = stridelab("biped_walk", *SMALL)
    assert code == 0
    assert "policy.joint_vel" in out
    assert "mean [s]" in out  # no markup was made of the unit
    assert "biped_walk: 0 errors, " in out


def test_something_wrong_as_json(stridelab):
    code, out, err = stridelab("biped_walk", "task.rewards.upright=1e7", "--json", *SMALL)
    assert code == 1
    assert err == ""
    [finding] = [f for f in json.loads(out)["findings"] if f["severity"] == "error"]
    assert finding["about"] == "reward upright"
    assert "explodes" in finding["message"]


def test_strict(stridelab, tmp_path, tiny):
    tiny["task"]["rewards"] = {"upright": 150.0}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    assert stridelab("tiny.yaml", *SMALL)[0] == 0
    assert stridelab("tiny.yaml", *SMALL, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["biped_wolk"], 'task.id: unknown task "biped_wolk"; did you mean "biped_walk"?'),
        (["biped_walk", "task.rewards.upri=1"], 'override "task.rewards.upri=1": unknown reward'),
        (["nowhere.yaml"], "nowhere.yaml: there is no such file"),
    ],
)
def test_mistakes(stridelab, arguments, expected):
    code, out, err = stridelab(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {expected}")
    assert err.count("\n") == 1
