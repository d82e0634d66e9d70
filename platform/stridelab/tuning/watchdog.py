"""Advice on a running training, from its metrics alone.

The rules are those of the training documents: entropy should fall slowly, the divergence stay near
its target, explained variance pass 0.5 within a million steps, value loss not keep rising, and
rewards not cancel. Metrics fluctuate, so only medians over several iterations are looked at.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

WINDOW = 10
"""Iterations of a median."""
MILLION = 1_000_000
"""Environment steps before which explained variance and value loss mean little."""
STD_SHARE = 0.5
"""The spread of the actions may fall to this share within two windows, not below."""
KL_HIGH, KL_LOW = 3.0, 0.2
"""Divergence in units of its target that is off target."""
EXPLAINED = 0.5
"""Explained variance below this after a million steps is stuck."""
FALLING = 0.1
"""Share of episodes that end in a fall below which nothing is left for the critic to explain."""
VALUE_LOSS_RISE = 2.0
"""Value loss rising by this factor from window to window to window keeps rising."""
TREND_STEPS = 100_000
"""Environment steps over which a rise of the value loss is a trend, not noise."""
CANCEL = 0.1
"""Rewards whose sum is below this share of the sum of their sizes cancel."""

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """One thing to look at."""

    name: str
    """For metrics: ``watch/<name>`` is 1 while it holds."""
    text: str
    """What is seen and what to try, on one line."""


NAMES = (
    "entropy_falls_fast",
    "kl_off_target",
    "explained_variance_low",
    "value_loss_rises",
    "rewards_cancel",
)
"""Names of all advice."""


def advise(history: Sequence[Metrics], desired_kl: float) -> list[Advice]:
    """Return advice on a training.

    Args:
        history: Results of iterations, oldest first, with the names of the metric glossary and
            ``env_steps``; the last ``3 * WINDOW`` count.
        desired_kl: Divergence [nat] that an update aims at.
    """
    rules = (
        _entropy(history),
        _kl(history, desired_kl),
        _explained_variance(history),
        _value_loss(history),
        _rewards(history),
    )
    return [
        Advice(name, text)
        for name, rule in zip(NAMES, rules, strict=True)
        if (text := next(rule, None)) is not None
    ]


class Watchdog:
    """Follows one training and gives advice on it.

    Args:
        desired_kl: Divergence [nat] that an update aims at.
    """

    def __init__(self, desired_kl: float) -> None:
        self.desired_kl = desired_kl
        self._history: deque[Metrics] = deque(maxlen=3 * WINDOW)

    def look(self, result: Metrics) -> list[Advice]:
        """Take in the result of an iteration and return the advice that holds now."""
        self._history.append(result)
        return advise(self._history, self.desired_kl)


def as_metrics(advice: Sequence[Advice]) -> dict[str, float]:
    """Return ``watch/<name>``: 1 for what holds, 0 for the rest."""
    names = {one.name for one in advice}
    return {f"watch/{name}": float(name in names) for name in NAMES}


def _entropy(history: Sequence[Metrics]) -> Iterator[str]:
    earlier, now = _window(history, "policy/std", 2), _window(history, "policy/std", 0)
    if earlier is None or now is None or not now < STD_SHARE * earlier:
        return
    yield (
        f"entropy is falling too fast: the actions' std went from {earlier:.2g} to {now:.2g} in "
        f"{2 * WINDOW} iterations; reduce the learning rate or raise entropy_coef"
    )


def _kl(history: Sequence[Metrics], desired: float) -> Iterator[str]:
    kl = _window(history, "policy/approx_kl", 0)
    if kl is None:
        return
    where = f"KL divergence {kl:.2g} should stay near {desired:g}"
    if kl > KL_HIGH * desired:
        yield f"{where}: updates are too large; reduce the learning rate or num_epochs"
    elif kl < KL_LOW * desired:
        yield f"{where}: updates hardly change the policy; raise the learning rate or num_epochs"


def _explained_variance(history: Sequence[Metrics]) -> Iterator[str]:
    explained = _window(history, "value/explained_variance", 0)
    fell = _window(history, "episode/fell", 0)
    if explained is None or explained >= EXPLAINED or _steps(history) < MILLION:
        return
    if fell is not None and fell < FALLING:
        return  # every state is worth nearly the same
    yield (
        f"explained variance is {explained:.2g} after {_steps(history) / MILLION:.1f}M steps: the "
        "reward function may need tuning; check that the robot gets any positive reward"
    )


def _value_loss(history: Sequence[Metrics]) -> Iterator[str]:
    old, middle, now = (_window(history, "loss/value", back) for back in (2, 1, 0))
    if old is None or middle is None or now is None or _steps(history) < MILLION:
        return
    steps = _steps(history) - float(history[-3 * WINDOW]["env_steps"])
    rises = old < middle < now and now > VALUE_LOSS_RISE * old
    explained = _window(history, "value/explained_variance", 0)
    keeps_up = explained is not None and explained >= 0.8  # it grows with the returns alone
    if rises and steps >= TREND_STEPS and not keeps_up:
        yield (
            f"value loss keeps rising, from {old:.3g} to {now:.3g} in {steps / 1000:.0f}K steps: "
            "the learning rate may be too high"
        )


def _rewards(history: Sequence[Metrics]) -> Iterator[str]:
    if len(history) < WINDOW:
        return
    names = [name for name in history[-1] if name.startswith("reward/")]
    terms = {name: _window(history, name, 0) for name in names}
    found = {name.removeprefix("reward/"): v for name, v in terms.items() if v is not None}
    gain = sum(value for value in found.values() if value > 0.0)
    loss = -sum(value for value in found.values() if value < 0.0)
    if not (gain and loss) or abs(gain - loss) >= CANCEL * (gain + loss):
        return
    best, worst = max(found, key=lambda n: found[n]), min(found, key=lambda n: found[n])
    yield (
        f"rewards cancel: +{gain:.2g} (most {best}) against -{loss:.2g} (most {worst}); weigh the "
        "penalties less, or what you want more"
    )


def _steps(history: Sequence[Metrics]) -> float:
    return float(history[-1].get("env_steps", 0)) if history else 0.0


def _window(history: Sequence[Metrics], name: str, back: int) -> float | None:
    """Return the median of a metric in the window ``back`` windows before the last one.

    None while the window is not full of finite numbers.
    """
    end = len(history) - back * WINDOW
    if end < WINDOW:
        return None
    values = [history[i].get(name) for i in range(end - WINDOW, end)]
    numbers = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return median(numbers) if len(numbers) == WINDOW else None
