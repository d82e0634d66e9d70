"""Where commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from stridelab.evaluation.files import finite

stdout = Console()
stderr = Console(stderr=True)


def print_json(value: Any) -> None:
    """Write ``value`` as JSON, plain, for other programs; what is not finite becomes null."""
    text = json.dumps(finite(value), indent=2, default=str, allow_nan=False)
    stdout.print(text, highlight=False, markup=False, soft_wrap=True)
