"""Advice on histories made by hand."""

import pytest

from stridelab.tuning.watchdog import NAMES, WINDOW, Watchdog, advise, as_metrics

HEALTHY = {
    "policy/std": 0.8,
    "policy/approx_kl": 0.01,
    "value/explained_variance": 0.9,
    "episode/fell": 0.5,
    "loss/value": 10.0,
    "reward/upright": 2.0,
    "reward/action_rate": -0.5,
}
STEPS = 50_000
"""Environment steps of an iteration."""


def history(count=3 * WINDOW, start=2_000_000, **curves):
    """Iterations that are healthy but for ``curves``: name to function of the window, 0 to 2."""
    results = []
    for i in range(count):
        window = (i - (count - 3 * WINDOW)) // WINDOW
        changed = {name.replace("__", "/"): curve(window) for name, curve in curves.items()}
        results.append({**HEALTHY, "env_steps": start + STEPS * i, **changed})
    return results


def names(results, desired_kl=0.01):
    return [advice.name for advice in advise(results, desired_kl)]


def at(*values):
    return lambda window: values[max(0, window)]


def test_a_healthy_training_gets_no_advice():
    assert names(history()) == []
    assert names([]) == []


def test_all_names_are_known():
    assert set(as_metrics([])) == {f"watch/{name}" for name in NAMES}


class TestEntropy:
    def test_halved_within_two_windows(self):
        [advice] = advise(history(policy__std=at(1.0, 0.7, 0.49)), 0.01)
        assert advice.name == "entropy_falls_fast"
        assert advice.text == (
            "entropy is falling too fast: the actions' std went from 1 to 0.49 in 20 iterations; "
            "reduce the learning rate or raise entropy_coef"
        )

    def test_a_slow_fall_is_wanted(self):
        assert names(history(policy__std=at(1.0, 0.8, 0.6))) == []

    def test_too_short_a_history_says_nothing(self):
        short = history(policy__std=at(1.0, 0.7, 0.1))[WINDOW + 1 :]
        assert names(short) == []


class TestKl:
    @pytest.mark.parametrize(
        ("kl", "found", "remedy"),
        [(0.031, True, "reduce"), (0.029, False, ""), (0.0021, False, ""), (0.0019, True, "raise")],
    )
    def test_around_the_target(self, kl, found, remedy):
        advice = advise(history(policy__approx_kl=at(0.01, 0.01, kl)), 0.01)
        assert bool(advice) == found
        if found:
            assert advice[0].name == "kl_off_target"
            assert f"{kl:.2g} should stay near 0.01" in advice[0].text
            assert remedy in advice[0].text

    def test_the_target_is_the_experiments(self):
        assert names(history(policy__approx_kl=at(0.05, 0.05, 0.05)), desired_kl=0.05) == []

    def test_single_spikes_are_noise(self):
        results = history()
        for i in (-1, -3, -5, -7):
            results[i]["policy/approx_kl"] = 1.0
        assert names(results) == []


class TestExplainedVariance:
    def test_low_after_a_million_steps(self):
        [advice] = advise(history(value__explained_variance=at(0.4, 0.4, 0.4)), 0.01)
        assert advice.name == "explained_variance_low"
        assert advice.text.startswith("explained variance is 0.4 after 3.5M steps: the reward")

    def test_not_before(self):
        early = history(start=1_000_000 - 30 * STEPS, value__explained_variance=at(0.1, 0.1, 0.1))
        assert early[-1]["env_steps"] < 1_000_000
        assert names(early) == []

    def test_not_when_nobody_falls(self):
        low = {"value__explained_variance": at(0.1, 0.1, 0.1), "episode__fell": at(0.9, 0.5, 0.05)}
        assert names(history(**low)) == []


class TestValueLoss:
    RISING = {"loss__value": at(10.0, 15.0, 25.0), "value__explained_variance": at(0.7, 0.7, 0.7)}

    def test_rising_for_three_windows(self):
        [advice] = advise(history(**self.RISING), 0.01)
        assert advice.name == "value_loss_rises"
        assert advice.text == (
            "value loss keeps rising, from 10 to 25 in 1450K steps: "
            "the learning rate may be too high"
        )

    def test_it_may_grow_with_the_returns(self):
        assert names(history(loss__value=at(10.0, 15.0, 25.0))) == []  # explained: 0.9

    @pytest.mark.parametrize("curve", [(10.0, 9.0, 25.0), (10.0, 15.0, 19.0)])
    def test_up_and_down_is_normal(self, curve):
        assert names(history(**{**self.RISING, "loss__value": at(*curve)})) == []

    def test_not_before_a_million_steps(self):
        assert names(history(start=-1_000_000, **self.RISING)) == []

    def test_not_over_few_steps(self):
        results = history(**self.RISING)
        for i, result in enumerate(results):
            result["env_steps"] = 2_000_000 + i
        assert names(results) == []


class TestRewards:
    def test_terms_that_cancel(self):
        [advice] = advise(history(reward__action_rate=at(-1.8, -1.8, -1.8)), 0.01)
        assert advice.name == "rewards_cancel"
        assert advice.text.startswith(
            "rewards cancel: +2 (most upright) against -1.8 (most action_rate); weigh"
        )

    @pytest.mark.parametrize("penalty", [-1.5, -2.6])
    def test_one_side_wins(self, penalty):
        assert names(history(reward__action_rate=at(penalty, penalty, penalty))) == []

    def test_only_one_side(self):
        assert names(history(reward__action_rate=at(0.0, 0.0, 0.0))) == []


def test_what_is_missing_or_not_finite_is_left_out():
    results = history(policy__approx_kl=at(1.0, 1.0, 1.0), reward__upright=at(0.5, 0.5, 0.5))
    assert names(results) == ["kl_off_target", "rewards_cancel"]
    results[-2]["policy/approx_kl"] = float("nan")
    del results[-4]["reward/upright"]
    assert names(results) == []


def test_the_watchdog_remembers_as_much_as_it_needs():
    watchdog = Watchdog(desired_kl=0.01)
    results = history(count=200, policy__std=at(1.0, 0.7, 0.3))
    seen = [watchdog.look(result) for result in results]
    assert all(advice == [] for advice in seen[: 200 - WINDOW])
    assert [advice.name for advice in seen[-1]] == ["entropy_falls_fast"]
    metrics = as_metrics(seen[-1])
    assert metrics["watch/entropy_falls_fast"] == 1.0
    assert sum(metrics.values()) == 1.0
