"""Figures: what is computed is checked by number, what is drawn by its pixels."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from stridelab.evaluation import plots
from stridelab.evaluation.plots import (
    ParallelAxis,
    SweepRow,
    learning_curves,
    parallel_coordinates,
    reward_bars,
    sweep_summary,
)
from stridelab.evaluation.statistics import Interval

STEPS = np.array([0.0, 1e6, 2e6])


def pixels_of(path, colour):
    """Count pixels that have exactly this colour."""
    wanted = np.round(255 * np.array(to_rgb(colour)))
    return int((iio.imread(path)[..., :3] == wanted).all(axis=-1).sum())


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures in the order in which they are saved."""
    figures = []
    save = plots.save_figure

    def spy(figure, path):
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save_figure", spy)
    return figures


class TestLearningCurves:
    def test_line_is_the_mean_and_band_the_deviation(self, tmp_path, drawn):
        runs = [(STEPS, np.array([0.0, 2.0, 4.0])), (STEPS, np.array([2.0, 6.0, 10.0]))]
        learning_curves({"a": runs}, tmp_path / "c.png", title="t", ylabel="return")
        (axes,) = drawn[0].axes
        (line,) = axes.lines
        steps, mean = line.get_data()
        assert (steps[0], steps[-1]) == (0.0, 2.0)  # [M]
        np.testing.assert_allclose(np.interp([0.0, 1.0, 2.0], steps, mean), [1.0, 4.0, 7.0])
        (band,) = axes.collections
        edge = band.get_paths()[0].vertices
        at_end = edge[edge[:, 0] == 2.0][:, 1]
        # Values 4 and 10: deviation 3.
        assert (at_end.min(), at_end.max()) == (4.0, 10.0)

    def test_mean_ends_where_the_shortest_run_ends(self, tmp_path, drawn):
        runs = [(STEPS, np.zeros(3)), (STEPS[:2], np.ones(2))]
        learning_curves({"a": runs}, tmp_path / "c.png", title="t", ylabel="y")
        assert drawn[0].axes[0].lines[0].get_xdata()[-1] == 1.0

    def test_points_that_are_not_finite_are_left_out(self, tmp_path, drawn):
        run = (STEPS, np.array([1.0, np.nan, 3.0]))
        learning_curves({"a": [run]}, tmp_path / "c.png", title="t", ylabel="y")
        steps, values = drawn[0].axes[0].lines[0].get_data()
        np.testing.assert_allclose(values, 1.0 + steps)

    def test_labels_keep_apart_and_inside(self, tmp_path, drawn):
        # Eleven ends crowd at the top, where pushing them apart leads out of the plot.
        ends = [0.0, *(1.0 + 1e-3 * i for i in range(11))]
        runs = {f"run {i}": [(STEPS, np.full(3, end))] for i, end in enumerate(ends)}
        learning_curves(runs, tmp_path / "c.png", title="t", ylabel="y")
        axes = drawn[0].axes[0]
        heights = [text.xy[1] for text in axes.texts]
        low, high = axes.get_ylim()
        assert len(heights) == 12
        assert np.diff(heights).min() > 0.04 * (high - low)
        assert low <= min(heights)
        assert max(heights) <= high + 1e-9

    def test_every_label_has_its_colour(self, tmp_path):
        path = tmp_path / "c.png"
        runs = {"a": [(STEPS, STEPS)], "b": [(STEPS, 2e6 - STEPS)]}
        learning_curves(runs, path, title="t", ylabel="y")
        assert pixels_of(path, plots.COLOURS[0]) > 100
        assert pixels_of(path, plots.COLOURS[1]) > 100
        assert pixels_of(path, plots.COLOURS[2]) == 0

    def test_nothing_to_draw_is_an_error_and_no_file(self, tmp_path):
        with pytest.raises(ValueError, match="no run"):
            learning_curves(
                {"a": [(STEPS, np.full(3, np.nan))]}, tmp_path / "c.png", title="t", ylabel="y"
            )
        assert not list(tmp_path.iterdir())


class TestRewardBars:
    def test_bars_are_the_terms_with_the_largest_on_top(self, tmp_path, drawn):
        reward_bars({"a": {"small": 0.1, "large": -2.0, "middle": 1.0}}, tmp_path / "b.png")
        (axes,) = drawn[0].axes
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["small", "middle", "large"]
        assert [bar.get_width() for bar in axes.patches] == [0.1, 1.0, -2.0]
        assert [text.get_text() for text in axes.texts] == ["+0.1", "+1", "\u22122"]

    def test_bars_of_two_policies_do_not_overlap(self, tmp_path, drawn):
        terms = {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 1.5}}
        reward_bars(terms, tmp_path / "b.png")
        spans = sorted(
            (bar.get_y(), bar.get_y() + bar.get_height()) for bar in drawn[0].axes[0].patches
        )
        assert all(upper <= lower for (_, upper), (lower, _) in itertools.pairwise(spans))

    def test_no_terms(self, tmp_path):
        with pytest.raises(ValueError, match="no reward terms"):
            reward_bars({"a": {}}, tmp_path / "b.png")


class TestSweepSummary:
    def rows(self):
        return [
            SweepRow(label="good", interval=Interval(point=3.0, low=2.0, high=4.0, n=2)),
            SweepRow(
                label="best",
                interval=Interval(point=5.0, low=4.5, high=6.0, n=3),
                values=(4.5, 5.0, 6.0),
            ),
            SweepRow(label="bad", interval=Interval(point=1.0, low=0.0, high=1.5, n=2)),
        ]

    def test_rows_are_ranked(self, tmp_path, drawn):
        path = tmp_path / "s.png"
        sweep_summary(self.rows(), path)
        (axes,) = drawn[0].axes
        assert [text.get_text() for text in axes.get_yticklabels()] == ["bad", "good", "best"]
        spans = [tuple(c.get_segments()[0][:, 0]) for c in axes.collections]
        assert spans == [(0.0, 1.5), (2.0, 4.0), (4.5, 6.0)]
        # Only the best row has colour.
        assert pixels_of(path, plots.COLOURS[0]) > 100

    def test_seeds_are_drawn(self, tmp_path, drawn):
        sweep_summary(self.rows(), tmp_path / "s.png")
        points = [line.get_xdata() for line in drawn[0].axes[0].lines]
        assert any(np.array_equal(x, [4.5, 5.0, 6.0]) for x in points)

    def test_no_rows(self, tmp_path):
        with pytest.raises(ValueError, match="no rows"):
            sweep_summary([], tmp_path / "s.png")


class TestFiles:
    def test_failed_drawing_leaves_the_old_figure(self, tmp_path, monkeypatch):
        path = tmp_path / "b.png"
        path.write_bytes(b"old")

        def fail(*_args, **_kwargs):
            raise OSError("disk full")

        monkeypatch.setattr(FigureCanvasAgg, "print_png", fail)
        with pytest.raises(OSError, match="disk full"):
            reward_bars({"a": {"x": 1.0}}, path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_style_stays_inside(self, tmp_path):
        before = Figure().add_subplot().spines["top"].get_visible()
        reward_bars({"a": {"x": 1.0}}, tmp_path / "b.png")
        assert Figure().add_subplot().spines["top"].get_visible() is before is True

    def test_pyplot_stays_out(self):
        code = "import sys, stridelab.evaluation.plots; print('matplotlib.pyplot' in sys.modules)"
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == "False"


class TestParallelCoordinates:
    AXES = (
        ParallelAxis(label="rate", values=(1e-4, 1e-2, 1e-3), log=True),
        ParallelAxis(label="upright", values=(1.0, None, 5.0)),
        ParallelAxis(label="rewards", values=("v7", "v6", "v7")),
        ParallelAxis(label="epochs", values=(2.0, 2.0, 2.0)),
        ParallelAxis(label="success", values=(0.25, 1.0, 0.0)),
    )

    def test_one_line_a_configuration_with_the_best_on_top(self, tmp_path, drawn):
        parallel_coordinates(self.AXES, tmp_path / "p.png", title="t")
        (axes,) = drawn[0].axes
        lines = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == 5]
        expected = {
            0.0: [0.5, 1.0, 1.0, 0.5, 0.0],  # 1e-3 is half-way on a logarithmic axis
            0.25: [0.0, 0.0, 1.0, 0.5, 0.25],
            1.0: [1.0, plots._OFF, 0.0, 0.5, 1.0],
        }
        assert len(lines) == 3
        for line, heights in zip(lines, expected.values(), strict=True):
            np.testing.assert_allclose(line, heights)
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            axis.label for axis in self.AXES
        ]

    @pytest.mark.parametrize(("mode", "brightest"), [("max", 1), ("min", 2)])
    def test_the_best_is_the_brightest_and_on_top(self, tmp_path, drawn, mode, brightest):
        parallel_coordinates(self.AXES, tmp_path / "p.png", title="t", mode=mode)
        lines = [line for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 5]
        assert to_rgb(lines[-1].get_color()) == to_rgb(plots._SCORES(1.0))
        assert lines[-1].get_ydata()[-1] == self.AXES[-1].values[brightest]

    def test_ends_names_and_off_are_written(self, tmp_path, drawn):
        parallel_coordinates(self.AXES, tmp_path / "p.png", title="t")
        texts = [text.get_text() for text in drawn[0].axes[0].texts]
        for text in ("0.0001", "0.01", "off", "5", "v6", "v7", "2"):
            assert text in texts
        assert "0.001" not in texts

    @pytest.mark.parametrize("axes", [(), AXES[:1], (ParallelAxis(label="a", values=()),) * 2])
    def test_nothing_to_draw(self, tmp_path, axes):
        with pytest.raises(ValueError, match="nothing to draw"):
            parallel_coordinates(axes, tmp_path / "p.png", title="t")
        assert list(tmp_path.iterdir()) == []
