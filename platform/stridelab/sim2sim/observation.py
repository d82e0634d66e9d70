"""Building a policy's observation: frames of signals, scaled, clipped and stacked."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from stridelab.sim2sim.layout import Layout
from stridelab.sim2sim.signals import SIGNALS, Reading, Vector
from stridelab_envs.errors import ConfigError


class ObservationBuilder:
    """Turns readings into observations, remembering the frames of the past.

    Args:
        layout: The layout.
        example: Any reading, from which the widths of the terms are taken.

    Raises:
        ConfigError: A term's scale has another width than its signal.
    """

    def __init__(self, layout: Layout, example: Reading) -> None:
        self._section = layout.observation
        self._history = layout.history
        self._signals = layout.observation.signals
        self.columns: dict[str, slice] = {}
        """Where each term lies in a frame."""
        start = 0
        for name, term in self._section.terms.items():
            width = SIGNALS[self._signals[name]](example).size
            if isinstance(term.scale, list) and len(term.scale) != width:
                raise ConfigError(
                    f"observation.terms.{name}.scale",
                    f"must have {width} entries, as {self._signals[name]} has, got"
                    f" {len(term.scale)}",
                )
            self.columns[name] = slice(start, start + width)
            start += width
        self.frame_size = start
        """Width of one frame."""
        self._frames: deque[Vector] = deque(maxlen=self._history.length)

    @property
    def size(self) -> int:
        """Width of the observation: all frames."""
        return self.frame_size * self._history.length

    def describe(self) -> str:
        """Say in words how the width comes about: ``47 x 66 = 3102 (gait_clock 2, ...)``."""
        parts = ", ".join(f"{name} {c.stop - c.start}" for name, c in self.columns.items())
        length = self._history.length
        width = f"{self.frame_size} x {length} = {self.size}" if length > 1 else f"{self.size}"
        return f"{width} ({parts})"

    def reset(self) -> None:
        """Forget the past."""
        self._frames.clear()

    def frame(self, reading: Reading) -> Vector:
        """Return one frame, ``(frame_size,)``."""
        parts = []
        for name, term in self._section.terms.items():
            value = np.asarray(term.scale) * SIGNALS[self._signals[name]](reading)
            parts.append(value if term.clip is None else np.clip(value, -term.clip, term.clip))
        frame = np.concatenate(parts)
        limit = self._section.clip
        return frame if limit is None else np.clip(frame, -limit, limit)

    def observe(self, reading: Reading) -> NDArray[np.float32]:
        """Take a new reading in and return the observation, ``(1, size)``."""
        frame = self.frame(reading)
        if not self._frames:
            before = frame if self._history.start == "first_frame" else np.zeros_like(frame)
            self._frames.extend([before] * self._history.length)
        self._frames.append(frame)
        newest_first = self._history.order == "newest_first"
        stack = np.stack(list(self._frames)[:: -1 if newest_first else 1])
        if self._history.stacking == "term":
            blocks = [stack[:, columns].ravel() for columns in self.columns.values()]
            flat = np.concatenate(blocks)
        else:
            flat = stack.ravel()
        return flat.astype(np.float32)[None]
