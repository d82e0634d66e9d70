"""A guard against slowing down: ratios of a run against stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stridelab.bench.suites import Suite
from stridelab.evaluation.files import write_json

TOLERANCE = 0.2
"""How much lower than the stored one a ratio may be, as a share of it."""

Ratios = dict[str, dict[str, float]]
"""Benchmark to name of a ratio to its value."""


@dataclass(frozen=True)
class Verdict:
    """What became of one ratio."""

    failure: str = ""
    """One line with both numbers, or why our side is missing; empty if all is well."""
    skipped: str = ""
    """Why it could not be measured, where that is no fault of ours."""


def judge(suite: Suite, name: str, stored: float, record: Mapping[str, Any]) -> Verdict:
    """Compare a ratio of a run with the stored one.

    Args:
        suite: The benchmark that was run.
        name: Name of the ratio.
        stored: Its stored value.
        record: What :func:`stridelab.bench.report.report` returned.
    """
    if name not in record["ratios"]:
        return _missing(suite, name, record["skipped"])
    measured = record["ratios"][name]
    if measured >= (1.0 - TOLERANCE) * stored:
        return Verdict()
    drop = 1.0 - measured / stored
    return Verdict(
        failure=f"{suite.name}: ratio {name} is {measured:.3f}, {drop:.0%} below the stored "
        f"{stored:.3f} (allowed: {TOLERANCE:.0%})"
    )


def _missing(suite: Suite, name: str, skipped: Mapping[str, str]) -> Verdict:
    if name not in suite.ratios:
        return Verdict(
            failure=f"{suite.name}: there is no ratio {name}; write the stored ones anew"
        )
    ratio = suite.ratios[name]
    reasons = {who: skipped[who] for who in (ratio.contender, *ratio.against) if who in skipped}
    said = f"{suite.name}: {name}: " + "; ".join(f"{who}: {why}" for who, why in reasons.items())
    return Verdict(failure=said) if ratio.contender in reasons else Verdict(skipped=said)


def read_ratios(path: Path) -> Ratios:
    """Read stored ratios."""
    stored: Ratios = json.loads(path.read_text(encoding="utf-8"))
    return stored


def rewrite_ratios(path: Path, benchmark: str, measured: Mapping[str, float]) -> None:
    """Store the ratios of one benchmark; others, and those that were not measured, stay."""
    stored = read_ratios(path)
    rounded = {name: round(value, 3) for name, value in measured.items()}
    write_json(path, {**stored, benchmark: {**stored.get(benchmark, {}), **rounded}})
