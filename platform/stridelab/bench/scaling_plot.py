"""The curves of ``stridelab bench scale`` as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stridelab.evaluation.files import replacing
from stridelab.evaluation.plots import COLOURS, STYLE

_LABELS = {
    "physics": "physics alone",
    "env": "environment",
    "train": "training iteration",
    "index": "frames\nby index",
    "stacks": "stacked\ncopies",
}
_MICRO, _MEBI = 1e6, 1.0 / 2**20
_MARKERS = "os^"


def draw_scaling(record: dict[str, Any], path: Path) -> None:
    """Draw what :func:`stridelab.bench.scaling.scaling` returned to a PNG file."""
    with rc_context(STYLE):
        figure = Figure(figsize=(10.0, 8.0), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplot_mosaic("ccmm;rrts")
        _cost(axes["c"], record["cost"])
        _memory(axes["m"], record["peak_memory"])
        _runners(axes["r"], record["runners"])
        history = record["history"]
        costs = {name: one["cost"] * _MICRO for name, one in history.items()}
        memory = {n: one["peak_memory"] for n, one in history.items() if one["peak_memory"]}
        _bars(axes["t"], costs, "66 frames: time", "time of an environment step [µs]")
        _bars(
            axes["s"],
            {name: count * _MEBI for name, count in memory.items()},
            "66 frames: memory",
            "peak memory of the process [MiB]",
        )
        about, size = record["machine"], record["parts"][0]["size"]
        figure.suptitle(
            f"{about['cpu']}, {size['num_threads']} threads; medians of "
            f"{size['rounds']} rounds, {size['num_envs']} environments where not said otherwise",
            fontsize=9.0,
        )
        with replacing(path) as scratch:
            figure.savefig(scratch, format="png", dpi=160)


def _environments(axes: Axes, counts: set[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(counts), [str(count) for count in sorted(counts)])
    axes.set_xlabel("environments")


def _cost(axes: Axes, cost: dict[str, dict[str, dict[str, float]]]) -> None:
    for index, (kind, points) in enumerate(cost.items()):
        middle = [point["cost"] * _MICRO for point in points.values()]
        below = [(point["cost"] - point["least"]) * _MICRO for point in points.values()]
        above = [(point["most"] - point["cost"]) * _MICRO for point in points.values()]
        axes.errorbar(
            [int(count) for count in points],
            middle,
            yerr=[below, above],
            color=COLOURS[index],
            marker=_MARKERS[index],
            capsize=3.0,
            label=_LABELS[kind],
        )
    _environments(axes, {int(count) for points in cost.values() for count in points})
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("time of an environment step [µs]")
    axes.set_title("Cost of a step (bars: range)")
    axes.legend()


def _memory(axes: Axes, memory: dict[str, dict[str, int | None]]) -> None:
    for index, (kind, points) in enumerate(memory.items(), start=1):
        known = {int(count): value * _MEBI for count, value in points.items() if value}
        axes.plot(
            list(known),
            list(known.values()),
            color=COLOURS[index],
            marker=_MARKERS[index],
            label=_LABELS[kind],
        )
    _environments(axes, {int(count) for points in memory.values() for count in points})
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("peak memory of the process [MiB]")
    axes.set_title("Memory")
    axes.legend()


def _runners(axes: Axes, runners: dict[str, dict[str, float]]) -> None:
    counts = sorted({int(count) for points in runners.values() for count in points})
    width = 0.38
    for index, (mode, points) in enumerate(runners.items()):
        places = [counts.index(int(count)) + (index - 0.5) * width for count in points]
        bars = axes.bar(places, list(points.values()), width, color=COLOURS[index], label=mode)
        axes.bar_label(bars, fmt="%.2f", padding=2.0)
    axes.axhline(1.0, color="#222222", linewidth=1.0, linestyle="--")
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("sampling processes (0: in the learner's)")
    axes.set_ylabel("rate over that of one process")
    axes.set_title("Sampling processes")
    axes.margins(y=0.25)
    axes.legend(loc="upper left", ncols=2)


def _bars(axes: Axes, values: dict[str, float], title: str, ylabel: str) -> None:
    bars = axes.bar([_LABELS[name] for name in values], list(values.values()), color=COLOURS[:2])
    axes.bar_label(bars, fmt="%.3g", padding=2.0)
    axes.margins(y=0.15)
    axes.set_ylabel(ylabel)
    axes.set_title(title)
