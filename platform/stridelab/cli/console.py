"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console

stdout = Console()
stderr = Console(stderr=True)


def print_json(value: Any) -> None:
    """Write ``value`` as JSON, plain, for other programs; what is not finite becomes null."""
    text = json.dumps(_finite(value), indent=2, default=str, allow_nan=False)
    stdout.print(text, highlight=False, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
