"""Scores, improvement and curves against numbers computed by hand."""

import json

import numpy as np
import pytest

from stridelab.compare.analysis import band, compare, improvement_interval
from stridelab.compare.collect import collect
from stridelab.evaluation.statistics import bootstrap_interval, iqm, optimality_gap
from stridelab_envs.errors import UserError


def test_best_first_by_iqm(versions):
    found = [(row.rank, row.group.label, row.score.point) for row in versions.rows]
    # v6's outlier of 100 is cut: (4 + 6) / 2; v7 has three runs: the plain mean.
    assert found == [(1, "rewards=v7", 8.0), (2, "rewards=v6", 5.0), (3, "baseline", 2.5)]
    assert versions.runs == 11


def test_gap_to_the_best_run_or_to_a_target(studies, versions):
    assert versions.target == 100.0
    assert versions.rows[0].gap.point == 92.0  # mean of 93, 92, 91
    aimed = compare(collect(studies.uri, [studies.parent], "episode/return"), target=8.0)
    # v7: 1, 0 and none below zero; v6: 6, 4, 2, 0
    assert [row.gap.point for row in aimed.rows] == pytest.approx([1 / 3, 3.0, 5.5])


def test_probability_of_improvement(versions):
    best, v6, base = versions.rows
    assert best.over_best is None
    assert v6.over_best.point == 3 / 12  # only 100 beats 7, 8 and 9
    assert versions.baseline is base
    assert base.over_baseline is None
    # 2 beats 1 and ties 2; 4 beats 1, 2, 3 and ties 4; 6 and 100 beat all
    assert v6.over_baseline.point == (1.5 + 3.5 + 4 + 4) / 16
    assert best.over_baseline.point == best.over_baseline.low == best.over_baseline.high == 1.0


def test_lower_scores_can_be_better(studies):
    turned = compare(collect(studies.uri, [studies.parent], "episode/return"), mode="min")
    assert [row.group.label for row in turned.rows] == ["baseline", "rewards=v6", "rewards=v7"]
    assert turned.target == 1.0
    assert turned.rows[0].score.point == 2.5
    assert turned.rows[0].gap.point == 1.5  # mean of 0, 1, 2, 3
    assert turned.rows[2].over_best.point == 0.0


def test_baseline_by_name(studies):
    collection = collect(studies.uri, [studies.parent], "episode/return")
    assert compare(collection, baseline="rewards=v6").baseline.rank == 2
    with pytest.raises(UserError, match='unknown configuration "rewards=v8"; did you mean'):
        compare(collection, baseline="rewards=v8")


def test_improvement_interval_is_the_bootstrap_of_both_sides():
    generator = np.random.default_rng(0)
    x, y = generator.normal(0.5, 1.0, size=8), generator.normal(0.0, 1.0, size=11)
    interval = improvement_interval(x, y, seed=3)
    assert interval.point == np.mean(x[:, None] > y[None, :])
    drawn = [
        np.mean(generator.choice(x, 8)[:, None] > generator.choice(y, 11)[None, :])
        for _ in range(4000)
    ]
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.03)
    assert interval == improvement_interval(x, y, seed=3)
    assert interval.note == ""
    assert "n = 3" in improvement_interval(x, y[:3]).note
    with pytest.raises(ValueError, match="no scores"):
        improvement_interval([], y)


def test_band_is_the_iqm_with_its_bootstrap_at_each_point():
    steps = np.array([0.0, 10.0, 20.0])
    runs = [(steps, np.array([0.0, scale, 2 * scale])) for scale in (1.0, 2.0, 3.0, 100.0)]
    found = band(runs)
    np.testing.assert_allclose(found.x, steps)
    np.testing.assert_allclose(found.middle, [0.0, 2.5, 5.0])  # 1 and 100 are cut
    expected = bootstrap_interval([1.0, 2.0, 3.0, 100.0], iqm)
    assert found.low[1] == pytest.approx(expected.low, abs=0.5)
    assert found.low[0] == found.high[0] == 0.0
    assert np.all(found.low <= found.middle)
    assert np.all(found.middle <= found.high)


def test_band_covers_what_all_runs_cover():
    short = (np.array([5.0, 10.0]), np.array([1.0, 1.0]))
    long = (np.array([0.0, 10.0, 20.0]), np.array([0.0, 2.0, 50.0]))
    nothing = (np.array([]), np.array([]))
    found = band([short, long, nothing])
    assert (found.x[0], found.x[-1], found.n) == (5.0, 10.0, 2)
    assert found.middle[-1] == 1.5
    assert band([nothing]) is None
    assert len(band([(np.array([7.0]), np.array([3.0]))]).x) == 1


def test_curves_against_steps_and_time(versions):
    best = versions.rows[0]
    assert (best.by_steps.x[-1], best.by_time.x[-1]) == (300.0, 3.0)
    np.testing.assert_allclose(best.by_steps.middle, [0.0, 4.0, 8.0])
    np.testing.assert_allclose(best.by_time.middle, [0.0, 4.0, 8.0])


def test_means_and_spreads_over_runs(versions):
    best = versions.rows[0]
    assert best.means["reward/upright"] == 4.0
    assert best.spreads["reward/upright"] == pytest.approx(np.sqrt(1 / 6))
    assert versions.metrics("reward/") == ["reward/action_rate", "reward/upright"]


def test_notes_say_what_few_runs_do(studies, versions, grid):
    assert versions.notes == (
        "n < 4 for 1 of 3 configurations: the IQM is then the plain mean, and intervals are too "
        "narrow.",
    )
    assert "12 of 12 configurations have one run, which gives no interval." in grid.notes
    assert any("best of 12 is picked" in note for note in grid.notes)
    both = compare(collect(studies.uri, [studies.parent, "grid"], "episode/return"))
    assert any("after 200 to 300 environment steps" in note for note in both.notes)


def test_record_is_json(versions, grid):
    record = json.loads(json.dumps(versions.record(), allow_nan=False))
    first = record["configurations"][0]
    assert (record["baseline"], first["label"], first["n"]) == ("baseline", "rewards=v7", 3)
    assert first["iqm"]["point"] == 8.0
    assert len(first["runs"]) == 3
    assert json.loads(json.dumps(grid.record(), allow_nan=False))["importance"][0]["fit"] > 0.5


def rliable_interval(scores, function):
    """Point and ends of rliable's interval; skips where it does not run with its dependencies."""
    try:
        library = pytest.importorskip("rliable.library", exc_type=ImportError)
        np.random.seed(0)  # the only way to make its draws the same again
        points, ends = library.get_interval_estimates({"x": scores}, function, reps=4000)
    except TypeError as error:
        pytest.skip(f"rliable does not run here (arch 7.2 wants pandas < 3): {error}")
    return float(np.squeeze(points["x"])), np.ravel(ends["x"])


def test_intervals_agree_with_rliable():
    generator = np.random.default_rng(5)
    x, y = generator.normal(1.0, 1.0, size=10), generator.normal(0.5, 1.0, size=8)
    point, ends = rliable_interval(
        x[:, None], lambda scores: np.array([rliable_metrics().aggregate_iqm(scores)])
    )
    ours = bootstrap_interval(x, iqm, resamples=4000)
    assert ours.point == pytest.approx(point)
    np.testing.assert_allclose([ours.low, ours.high], ends, atol=0.05)
    point, ends = rliable_interval(
        (x[:, None], y[:, None]), lambda a, b: rliable_metrics().probability_of_improvement(a, b)
    )
    chance = improvement_interval(x, y, resamples=4000)
    assert chance.point == pytest.approx(point)
    np.testing.assert_allclose([chance.low, chance.high], ends, atol=0.03)
    point, ends = rliable_interval(
        x[:, None], lambda scores: np.array([rliable_metrics().aggregate_optimality_gap(scores, 2)])
    )
    gap = bootstrap_interval(x, lambda scores: optimality_gap(scores, 2.0), resamples=4000)
    assert gap.point == pytest.approx(point)
    np.testing.assert_allclose([gap.low, gap.high], ends, atol=0.05)


def test_intervals_over_tasks_agree_with_rliable():
    """Strata: runs are drawn again in each of three tasks by itself."""
    scores = np.random.default_rng(7).normal([0.0, 2.0, 5.0], [0.5, 1.0, 0.2], size=(6, 3))
    point, ends = rliable_interval(
        scores, lambda matrix: np.array([rliable_metrics().aggregate_iqm(matrix)])
    )
    ours = bootstrap_interval(scores, iqm, resamples=4000)
    assert ours.point == pytest.approx(point)
    np.testing.assert_allclose([ours.low, ours.high], ends, atol=0.05)


def rliable_metrics():
    from rliable import metrics

    return metrics
