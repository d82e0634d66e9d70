"""An evaluation as JSON, file and table."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from stridelab.evaluation.files import replacing
from stridelab.evaluation.summary import Evaluation, table


def an_evaluation(label="base", **changes):
    values = {
        "label": label,
        "episodes": 16,
        "metrics": {"episode/return": 12.3456, "metric/speed": 0.5},
        "rewards": {"upright": 0.25},
        "std": {"episode/return": 1.25},
    }
    return Evaluation(**(values | changes))


def shown(evaluations):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(evaluations))
    return {
        cells[0]: cells[1:]
        for line in console.export_text().splitlines()
        if (cells := [cell.strip() for cell in line.strip("│┃ ").replace("┃", "│").split("│")])
    }


class TestJson:
    def test_holds_every_number(self):
        assert json.loads(an_evaluation().to_json()) == {
            "label": "base",
            "episodes": 16,
            "metrics": {"episode/return": 12.3456, "metric/speed": 0.5},
            "rewards": {"upright": 0.25},
            "std": {"episode/return": 1.25},
        }

    def test_what_is_not_finite_becomes_null(self):
        text = an_evaluation(metrics={"episode/return": math.nan}).to_json()
        assert json.loads(text)["metrics"] == {"episode/return": None}

    def test_short_names_keep_what_tells_two_metrics_apart(self):
        metrics = {"episode/return": 2.0, "metric/success/reach": 0.5, "metric/error/reach": 0.1}
        flat = an_evaluation(metrics=metrics, std={}).flat()
        assert (flat["return"], flat["success/reach"], flat["error/reach"]) == (2.0, 0.5, 0.1)

    def test_write_makes_the_folder(self, tmp_path):
        path = tmp_path / "deep" / "evaluation.json"
        an_evaluation().write(path)
        assert json.loads(path.read_text())["episodes"] == 16
        assert [file.name for file in path.parent.iterdir()] == ["evaluation.json"]


class TestChecks:
    def test_needs_an_episode(self):
        with pytest.raises(ValueError, match="at least one episode"):
            an_evaluation(episodes=0)

    def test_spread_belongs_to_a_metric(self):
        with pytest.raises(ValueError, match="metric/height"):
            an_evaluation(std={"metric/height": 0.1})


class TestTable:
    def test_policies_stand_side_by_side(self):
        other = an_evaluation("tuned", metrics={"episode/return": 20.0}, std={}, rewards={})
        rows = shown([an_evaluation(), other])
        assert rows["episodes"] == ["16", "16"]
        assert rows["episode/return"] == ["12.35 ± 1.2", "20"]
        assert rows["metric/speed"] == ["0.5", "-"]
        assert rows["reward/upright"] == ["0.25", "-"]


class TestReplacing:
    def test_failure_leaves_the_old_file_alone(self, tmp_path):
        path = tmp_path / "result.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError), replacing(path) as scratch:
            scratch.write_text("half of the n")
            raise RuntimeError
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_scratch_file_is_beside_the_target_and_keeps_its_suffix(self, tmp_path):
        path = tmp_path / "video.mp4"
        with replacing(path) as scratch:
            assert scratch.parent == tmp_path
            assert scratch.suffix == ".mp4"
            scratch.write_text("new")
            assert not path.exists()
        assert path.read_text() == "new"
