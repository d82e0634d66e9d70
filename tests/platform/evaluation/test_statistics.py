"""Statistics against closed forms and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stridelab.evaluation.statistics import (
    bootstrap_interval,
    difference_interval,
    iqm,
    optimality_gap,
    probability_of_improvement,
)


class TestIqm:
    def test_cuts_a_quarter_at_each_end(self):
        # Of eight, two go at each end: (3 + 4 + 5 + 6) / 4.
        assert iqm([8, 1, 2, 3, 4, 5, 6, 7]) == 4.5

    def test_outliers_do_not_count(self):
        assert iqm([-1e6, 1.0, 2.0, 1e9]) == 1.5

    def test_cut_is_rounded_down(self):
        # int(0.25 * 7) = 1: (2 + 3 + 4 + 5 + 60) / 5.
        assert iqm([1, 2, 3, 4, 5, 60, 700]) == pytest.approx(14.8)

    @pytest.mark.parametrize("scores", [[7.0], [1.0, 4.0], [1.0, 2.0, 9.0]])
    def test_below_four_it_is_the_mean(self, scores):
        assert iqm(scores) == pytest.approx(np.mean(scores))

    def test_runs_and_tasks_are_taken_together(self):
        assert iqm([[1.0, 100.0], [2.0, 3.0]]) == 2.5

    @pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
    def test_refuses_what_has_no_mean(self, scores):
        with pytest.raises(ValueError, match="scores"):
            iqm(scores)


class TestOptimalityGap:
    def test_scores_above_the_target_do_not_make_up_for_others(self):
        # Shortfalls 4, 1, 0 and 0.
        assert optimality_gap([6.0, 9.0, 10.0, 50.0], target=10.0) == 1.25

    def test_is_zero_when_all_reach_it(self):
        assert optimality_gap([3.0, 4.0], target=3.0) == 0.0


class TestProbabilityOfImprovement:
    def test_counts_pairs_with_ties_as_half(self):
        # Pairs (1,1) (1,2) (3,1) (3,2): a tie, a loss and two wins.
        assert probability_of_improvement([1.0, 3.0], [1.0, 2.0]) == 2.5 / 4.0

    def test_swapping_sides_gives_the_complement(self):
        x, y = np.random.default_rng(3).normal(size=(2, 6))
        forth, back = probability_of_improvement(x, y), probability_of_improvement(y, x)
        assert forth + back == pytest.approx(1.0)

    def test_is_averaged_over_tasks(self):
        x = [[1.0, 0.0], [1.0, 0.0]]
        y = [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
        # Task 1: always better (1). Task 2: one third losses, two thirds ties (1/3).
        assert probability_of_improvement(x, y) == pytest.approx(2.0 / 3.0)

    def test_refuses_other_tasks(self):
        with pytest.raises(ValueError, match="2 tasks"):
            probability_of_improvement([[1.0, 2.0]], [1.0])


class TestBootstrapInterval:
    def test_follows_the_normal_law_of_the_mean(self):
        scores = np.random.default_rng(0).normal(5.0, 2.0, size=200)
        interval = bootstrap_interval(scores, np.mean, resamples=4000)
        half = 1.96 * scores.std() / np.sqrt(200)
        assert interval.point == pytest.approx(scores.mean())
        assert interval.low == pytest.approx(scores.mean() - half, abs=0.03)
        assert interval.high == pytest.approx(scores.mean() + half, abs=0.03)
        assert interval.n == 200
        assert interval.note == ""

    def test_two_runs_have_the_three_means_they_can_have(self):
        # Resamples of (0, 1) have mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
        inner = bootstrap_interval([0.0, 1.0], np.mean, confidence=0.3)
        assert (inner.low, inner.high) == (0.5, 0.5)
        outer = bootstrap_interval([0.0, 1.0], np.mean, confidence=0.95)
        assert (outer.low, outer.high) == (0.0, 1.0)

    def test_is_stratified_by_task(self):
        # Tasks that differ widely but not between runs leave nothing to resample.
        scores = np.tile([0.0, 10.0, 500.0], (5, 1))
        interval = bootstrap_interval(scores, np.mean)
        assert interval.low == interval.high == pytest.approx(170.0)

    def test_tasks_are_resampled_independently(self):
        # With one draw for both tasks the sum would always be 0; on its own each run may differ.
        scores = np.array([[-1.0, 1.0], [1.0, -1.0]])
        interval = bootstrap_interval(scores, np.sum)
        assert (interval.low, interval.high) == (-4.0, 4.0)

    def test_depends_on_the_seed_alone(self):
        scores = np.random.default_rng(1).normal(size=(7, 2))
        np.random.seed(0)
        first = bootstrap_interval(scores, iqm, resamples=50, seed=4)
        np.random.seed(1)
        assert bootstrap_interval(scores, iqm, resamples=50, seed=4) == first
        assert bootstrap_interval(scores, iqm, resamples=50, seed=5) != first

    @pytest.mark.parametrize(("runs", "noted"), [(1, True), (3, True), (4, False)])
    def test_says_when_there_are_too_few(self, runs, noted):
        note = bootstrap_interval(np.arange(runs), iqm, resamples=10).note
        assert bool(note) is noted
        assert f"n = {runs}" in note or not noted

    @pytest.mark.parametrize("setting", [{"confidence": 1.0}, {"resamples": 0}])
    def test_refuses_settings_out_of_range(self, setting):
        with pytest.raises(ValueError, match=next(iter(setting))):
            bootstrap_interval([1.0, 2.0], iqm, **setting)

    def test_refuses_three_dimensions(self):
        with pytest.raises(ValueError, match="shape"):
            bootstrap_interval(np.zeros((2, 2, 2)), iqm)


class TestDifference:
    def test_point_and_widest_interval_by_hand(self):
        """Means of two draws from {1, 3} and {0, 1}: the differences lie between 0 and 3."""
        found = difference_interval([1.0, 3.0], [0.0, 1.0], iqm, confidence=0.999)
        assert found.point == 1.5
        assert (found.low, found.high) == (0.0, 3.0)
        assert found.n == 2

    def test_equal_scores_differ_by_nothing(self):
        found = difference_interval([2.0, 2.0, 2.0], [2.0, 2.0], iqm)
        assert (found.low, found.point, found.high) == (0.0, 0.0, 0.0)
        assert "fewer than 4" in found.note

    def test_it_is_the_same_every_time_and_turns_its_sign(self):
        x, y = np.arange(8.0), np.arange(5.0, 12.0)
        assert difference_interval(x, y, iqm) == difference_interval(x, y, iqm)
        assert difference_interval(x, y, iqm).high < 0.5
        assert difference_interval(y, x, iqm).point == -difference_interval(x, y, iqm).point

    def test_refuses_what_is_not_finite(self):
        with pytest.raises(ValueError, match="not finite"):
            difference_interval([1.0, np.nan], [1.0], iqm)
