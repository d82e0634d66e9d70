"""The numbers that search algorithms see: one axis for each thing that is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coordinate:
    """One axis of a search space.

    Search algorithms, random draws and populations work on these numbers; a ``Space`` turns them
    into the values of a key and back.
    """

    kind: str
    """``linear`` or ``log`` (real numbers), ``integer`` (ordered steps), ``category``."""
    low: float
    """Smallest number; above 0 for ``log``."""
    high: float
    """Largest number, included."""

    @property
    def is_real(self) -> bool:
        """Whether every number between the ends is allowed, not only whole ones."""
        return self.kind in ("linear", "log")

    def draw(self, random: np.random.RandomState) -> float:
        """Return a random number: uniform, or uniform in the logarithm for ``log``."""
        if not self.is_real:
            return int(random.randint(int(self.low), int(self.high) + 1))
        if self.kind == "log":
            return self.clip(math.exp(random.uniform(math.log(self.low), math.log(self.high))))
        return float(random.uniform(self.low, self.high))

    def clip(self, number: float) -> float:
        """Return the allowed number next to ``number``."""
        number = min(max(number, self.low), self.high)
        return float(number) if self.is_real else round(number)
