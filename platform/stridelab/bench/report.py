"""From a match to numbers: medians, ranges, ratios, the machine; as a record and as tables."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from stridelab.bench.arena import Match
from stridelab.bench.suites import Ratio, Size, Suite

_PACKAGES = ("torch", "mujoco", "numpy", "ray", "gymnasium", "rsl-rl-lib", "stable-baselines3")


def machine() -> dict[str, Any]:
    """Describe this machine and the versions that matter; absent packages are left out."""
    record: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            record[package] = version(package)
        except PackageNotFoundError:
            continue
    return record


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def spread(values: list[float]) -> dict[str, Any]:
    """Return median, least and greatest of ``values``, and the values."""
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": values}


def ratio_rounds(match: Match, ratio: Ratio) -> dict[str, Any] | None:
    """Return the ratio of two rates in each round with its spread, or None if one is missing."""
    rivals = [name for name in ratio.against if name in match.rates]
    if ratio.contender not in match.rates or not rivals:
        return None
    rival = max(rivals, key=lambda name: median(match.rates[name]))
    pairs = zip(match.rates[ratio.contender], match.rates[rival], strict=True)
    return {
        "contender": ratio.contender,
        "against": rival,
        **spread([ours / theirs for ours, theirs in pairs]),
    }


def report(
    suite: Suite, size: Size, match: Match, machine_record: dict[str, Any]
) -> dict[str, Any]:
    """Put everything about a match into one JSON-able record.

    ``rates`` are environment steps per second [1/s], with the most memory that each contender's
    process held [bytes]. ``ratios`` maps a name to the median over
    rounds of one rate over the other; ``ratio_rounds`` holds the rounds behind it.
    """
    rounds = {name: ratio_rounds(match, ratio) for name, ratio in suite.ratios.items()}
    found = {name: entry for name, entry in rounds.items() if entry is not None}
    return {
        "benchmark": suite.name,
        "size": asdict(size),
        "machine": machine_record,
        "rates": {
            name: {
                **spread(values),
                "env_steps_per_round": match.env_steps[name],
                "peak_memory": match.peak_memory.get(name),
            }
            for name, values in match.rates.items()
        },
        "ratios": {name: entry["median"] for name, entry in found.items()},
        "ratio_rounds": found,
        "skipped": match.skipped,
        "seconds": match.seconds,
    }


def tables(record: dict[str, Any]) -> Group:
    """Return what :func:`report` made as tables for people."""
    size, about = record["size"], record["machine"]
    rates = Table(
        "contender",
        "steps/s",
        "range",
        "steps a round",
        "peak memory",
        title=f"{record['benchmark']}: {size['num_envs']} environments, "
        f"{size['num_threads']} threads",
        caption=f"{about['cpu']}, {about['cores']} cores, load {about['load_average']:.1f}",
    )
    for name, rate in record["rates"].items():
        rates.add_row(
            name,
            f"{rate['median']:,.0f}",
            f"{rate['min']:,.0f} - {rate['max']:,.0f}",
            f"{rate['env_steps_per_round']:,}",
            _mebibytes(rate["peak_memory"]),
        )
    ratios = Table("ratio", "of", "to", "median", "range", "rounds")
    for name, entry in record["ratio_rounds"].items():
        ratios.add_row(
            name,
            entry["contender"],
            entry["against"],
            f"{entry['median']:.3f}",
            f"{entry['min']:.3f} - {entry['max']:.3f}",
            str(len(entry["rounds"])),
        )
    skipped = [Text(f"{name}: {reason}") for name, reason in record["skipped"].items()]
    return Group(rates, *skipped, ratios)


def _mebibytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**20:,.0f} MiB"
