"""The result of evaluating one policy, as data, JSON and a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from stridelab.evaluation.files import replacing


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a policy did over a number of whole episodes."""

    label: str
    """Name of the policy in tables and plots."""
    episodes: int
    """Number of finished episodes that the means are taken over."""
    metrics: dict[str, float]
    """Mean over episodes of ``episode/...`` and ``metric/...`` values."""
    rewards: dict[str, float] = field(default_factory=dict)
    """Mean of each reward term per second, by the term's name."""
    std: dict[str, float] = field(default_factory=dict)
    """Standard deviation over episodes (not of the mean), by the names in ``metrics``."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ValueError(f"{self.label}: an evaluation needs at least one episode")
        if stray := sorted(set(self.std) - set(self.metrics)):
            raise ValueError(f"{self.label}: std without a metric: {', '.join(stray)}")

    def to_json(self) -> str:
        """Return the evaluation as JSON; values that are not finite become null."""
        record = asdict(self)
        for name in ("metrics", "rewards", "std"):
            record[name] = {
                key: value if math.isfinite(value) else None for key, value in record[name].items()
            }
        return json.dumps(record, indent=2, sort_keys=True, allow_nan=False)

    def flat(self) -> dict[str, Any]:
        """Return label, episodes and metrics by their short names, and the rewards, for JSON."""
        metrics = {name.partition("/")[2]: value for name, value in self.metrics.items()}
        return {
            "policy": self.label,
            "episodes": self.episodes,
            **metrics,
            "rewards": dict(self.rewards),
        }

    def write(self, path: Path) -> None:
        """Write the JSON to ``path`` in one step."""
        with replacing(path) as scratch:
            scratch.write_text(self.to_json() + "\n", encoding="utf-8")


def table(evaluations: Sequence[Evaluation]) -> Table:
    """Return evaluations side by side: one column a policy, one row a metric or reward term."""
    result = Table(title=None, header_style="bold", pad_edge=False)
    result.add_column("")
    for evaluation in evaluations:
        result.add_column(evaluation.label, justify="right")
    result.add_row("episodes", *(str(evaluation.episodes) for evaluation in evaluations))
    result.add_section()
    for name in _names([evaluation.metrics for evaluation in evaluations]):
        result.add_row(name, *(_cell(item.metrics, item.std, name) for item in evaluations))
    result.add_section()
    for name in _names([evaluation.rewards for evaluation in evaluations]):
        result.add_row(f"reward/{name}", *(_cell(item.rewards, {}, name) for item in evaluations))
    return result


def _names(records: Sequence[Mapping[str, float]]) -> list[str]:
    """Return every key in the order in which it first appears."""
    return list(dict.fromkeys(key for record in records for key in record))


def _cell(values: Mapping[str, float], std: Mapping[str, float], name: str) -> str:
    """Format one value with four significant digits and its spread, or a dash where it lacks."""
    if name not in values:
        return "-"
    text = f"{values[name]:.4g}"
    return f"{text} ± {std[name]:.2g}" if name in std else text
