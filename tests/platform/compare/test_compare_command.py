"""``stridelab compare`` from the command line, and the pictures it writes."""

import json
import re

import pytest
import typer
from matplotlib.image import imread
from typer.testing import CliRunner

from stridelab.cli import compare
from stridelab_envs.errors import UserError


@pytest.fixture
def run(studies, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    app = typer.Typer()
    app.command("compare")(compare.command)

    def invoke(*arguments):
        arguments = [*map(str, arguments), "--tracking-uri", studies.uri]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    return invoke


def test_table_page_and_pictures(run, studies, tmp_path):
    result = run(studies.parent, "--html", tmp_path / "page.html", "--png", tmp_path / "png")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    [best] = [line for line in lines if "rewards=v7" in line]
    assert len(best) <= 80
    assert re.split(" {2,}", best.strip()) == [
        "1", "rewards=v7", "8 [7, 9]", "3", "92", "-", "1.00", "0.08",
    ]  # fmt: skip
    assert any("note: n < 4" in line for line in lines)
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    pictures = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert pictures == ["curves_steps.png", "curves_time.png", "reward_terms.png", "scores.png"]
    for name in pictures:
        assert imread(tmp_path / "png" / name)[..., :3].std() > 0.01  # not blank
        assert f"written: {tmp_path / 'png' / name}" in result.stderr


def test_json_is_all_that_is_printed(run):
    result = run("grid", "--json", "--mode", "min", "--target", "-5")
    record = json.loads(result.stdout)
    assert (record["mode"], record["target"]) == ("min", -5.0)
    assert record["configurations"][0]["label"].startswith("learning_rate=0.0001")
    assert record["configurations"][0]["optimality_gap"]["point"] == 5.0


def test_importance_is_shown(run, tmp_path):
    result = run("grid", "--png", tmp_path)
    assert "higher is better (rank correlation +1.00)" in result.stdout
    assert (tmp_path / "importance_grid.png").is_file()


def test_mistakes_are_user_errors(run, tmp_path):
    with pytest.raises(UserError, match='did you mean "grid"'):
        run("grit", "--html", tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
    assert run("grid", "--mode", "best").exit_code == 2


def test_steps_to_a_threshold(run, studies):
    lines = run(studies.parent, "--threshold", "3").stdout.splitlines()
    [title] = [line.strip() for line in lines if "for the first time" in line]
    assert title == "episode/return ≥ 3 for the first time"
    [best] = [line for line in lines if "rewards=v7" in line and "of 3" in line]
    assert re.findall(r"[\w=]+", best) == ["rewards=v7", "200", "3", "of", "3"]
    [worst] = [line for line in lines if "baseline" in line and "of 4" in line]
    assert "not reached" in worst
    assert "2 of 4" in worst
    assert "for the first time" not in run(studies.parent).stdout
