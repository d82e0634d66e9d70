"""How much experience a configuration needs: environment steps until a metric reaches a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from stridelab.compare.collect import History


@dataclass(frozen=True, kw_only=True)
class Reached:
    """When the runs of one configuration reached the threshold."""

    steps: tuple[float | None, ...]
    """Environment steps of each run at its first value at least as good; None for one that never
    was."""

    @property
    def n(self) -> int:
        """Runs that reached it."""
        return sum(steps is not None for steps in self.steps)

    @property
    def median(self) -> float | None:
        """Median over all runs, one that never reached it being later than any; None for never.

        Between a run that reached it and one that did not there is no middle: None, too.
        """
        middle = median(float("inf") if steps is None else steps for steps in self.steps)
        return None if middle == float("inf") else float(middle)

    def record(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"median": self.median, "reached": self.n, "runs": list(self.steps)}


def reached(histories: Sequence[History], threshold: float, mode: str) -> Reached:
    """Find when runs reached a threshold.

    Args:
        histories: The metric of each run while it trained.
        threshold: Value to reach.
        mode: ``"max"`` when higher values are better, ``"min"`` when lower ones are.
    """
    return Reached(steps=tuple(_first(history, threshold, mode) for history in histories))


def _first(history: History, threshold: float, mode: str) -> float | None:
    values = history.values
    good = np.flatnonzero(values >= threshold if mode == "max" else values <= threshold)
    return float(history.steps[good[0]]) if good.size else None
