"""Durations as people write them."""

from __future__ import annotations

import re

from stridelab.experiment.messages import show
from stridelab_envs.errors import ConfigError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(text: str) -> float:
    """Return a duration such as ``90m``, ``1.5h`` or ``2d`` in seconds.

    Raises:
        ConfigError: It is none, or not above 0.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text.strip())
    if found is None or not float(found[1]) > 0.0:
        raise ConfigError("", f"must be a time such as 90m, 12h or 2d, got {show(text)}")
    return float(found[1]) * _SECONDS[found[2]]
