"""How cost and memory grow: with environments, with sampling processes, with a long history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stridelab.bench.contender import Entry
from stridelab.bench.suites import Ratio, Size, Suite

ENVIRONMENTS = (64, 256, 1024, 4096)
"""Numbers of environments; quick runs take the first two."""
RUNNERS = (1, 2)
"""Numbers of sampling processes; quick runs take the last, synchronous alone."""
COSTS = ("physics", "env", "train")
"""Contenders whose cost is measured against the number of environments."""
MODES = {"synchronous": "", "asynchronous": "_async"}
"""Ways of sampling, and how they end a contender's name."""
HISTORIES = ("index", "stacks")
_STEPPING = "stridelab.bench.stepping"
_TRAINING = "stridelab.bench.training:PlatformTraining"


def scale_suites(size: Size, *, quick: bool = False) -> tuple[Suite, ...]:
    """Return the parts: environments, runners, history; all in one match in quick runs.

    Args:
        size: How much is run; ``num_envs`` counts for runners and history.
        quick: Leave out what takes long, to run or to start.
    """
    parts = (
        _environments(size, ENVIRONMENTS[:2], 50) if quick else _environments(size),
        _runners(size, quick),
        _history(size),
    )
    if not quick:
        return parts
    entries = {e.name: replace(e, warm_up=False) for part in parts for e in part.entries}
    ratios = {name: ratio for part in parts for name, ratio in part.ratios.items()}
    return (Suite("scale", tuple(entries.values()), ratios),)


def _train(size: Size, **options: Any) -> dict[str, Any]:
    """Return the options of a whole training."""
    return {
        "num_envs": size.num_envs,
        "num_threads": size.num_threads,
        "precision": "bf16",
        **options,
    }


def _environments(size: Size, counts: Sequence[int] = ENVIRONMENTS, steps: int = 100) -> Suite:
    """Physics, environment and training against the number of environments.

    Without learning all take equally many steps from standing: who has fallen costs more.
    """
    entries = []
    for count in counts:
        options = {"num_envs": count, "num_threads": size.num_threads, "steps": steps}
        training = _train(size, num_envs=count)
        entries += [
            Entry(f"physics_{count}", f"{_STEPPING}:PhysicsReplay", options),
            Entry(f"env_{count}", f"{_STEPPING}:EnvSteps", options),
            Entry(f"train_{count}", _TRAINING, training, warm_up=True),
        ]
    ratios = {f"env_{n}": Ratio(f"env_{n}", (f"physics_{n}",)) for n in counts}
    return Suite("environments", tuple(entries), ratios)


def _runners(size: Size, quick: bool) -> Suite:
    """Training with sampling processes against training in one process, in both modes."""
    alone = f"train_{size.num_envs}"
    entries = [Entry(alone, _TRAINING, _train(size), warm_up=True)]
    ratios = {}
    for count in RUNNERS[-1:] if quick else (0, *RUNNERS):
        for mode, ending in MODES.items():
            asynchronous = mode == "asynchronous"
            is_alone = not count and not asynchronous  # whom all are compared with
            if is_alone or (quick and asynchronous):
                continue
            name = f"runners_{count}{ending}"
            options = _train(size, runners=count, asynchronous=asynchronous)
            entries.append(Entry(name, _TRAINING, options, warm_up=True))
            ratios[name] = Ratio(name, (alone,))
    return Suite("runners", tuple(entries), ratios)


def _history(size: Size) -> Suite:
    """X1's 66 frames, recorded and read for one iteration by index and as stacks."""
    options = {"num_envs": size.num_envs}
    factories = {"index": "HistoryByIndex", "stacks": "HistoryAsStacks"}
    entries = [
        Entry(
            f"history_{name}", f"stridelab.bench.histories:{factories[name]}", options, warm_up=True
        )
        for name in HISTORIES
    ]
    ratios = {"history": Ratio("history_index", ("history_stacks",))}
    return Suite("history", tuple(entries), ratios)


def scaling(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the reports of all parts into one record with the curves; absent contenders have none.

    ``cost`` is the time of an environment step [s] and ``peak_memory`` that of the process [bytes],
    by contender and number of environments; ``runners`` is the rate over that of one process, by
    mode and number of sampling processes; ``history`` has cost and peak memory of each way.
    """
    rates = {name: rate for part in parts for name, rate in part["rates"].items()}
    ratios = {name: ratio for part in parts for name, ratio in part["ratios"].items()}

    def costs(contender: str) -> dict[str, float]:
        rate = rates[contender]
        return {"cost": 1.0 / rate["median"], "least": 1.0 / rate["max"], "most": 1.0 / rate["min"]}

    return {
        "benchmark": "scale",
        "machine": parts[0]["machine"],
        "cost": {
            kind: {str(n): costs(f"{kind}_{n}") for n in ENVIRONMENTS if f"{kind}_{n}" in rates}
            for kind in COSTS
        },
        "peak_memory": {
            kind: {
                str(n): rates[f"{kind}_{n}"]["peak_memory"]
                for n in ENVIRONMENTS
                if f"{kind}_{n}" in rates
            }
            for kind in ("env", "train")  # physics keeps an environment beside it
        },
        "runners": {
            mode: {
                str(n): ratios[f"runners_{n}{ending}"]
                for n in (0, *RUNNERS)
                if f"runners_{n}{ending}" in ratios
            }
            for mode, ending in MODES.items()
        },
        "history": {
            name: {
                **costs(f"history_{name}"),
                "peak_memory": rates[f"history_{name}"]["peak_memory"],
            }
            for name in HISTORIES
            if f"history_{name}" in rates
        },
        "parts": list(parts),
        "seconds": sum(part["seconds"] for part in parts),
    }
