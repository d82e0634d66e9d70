"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

stdout = Console()
stderr = Console(stderr=True)


def print_json(value: Any) -> None:
    """Write ``value`` as JSON, plain, for other programs."""
    stdout.print(
        json.dumps(value, indent=2, default=str), highlight=False, markup=False, soft_wrap=True
    )
