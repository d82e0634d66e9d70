"""What was measured besides the score: success, episodes, reward terms."""

from __future__ import annotations

from collections.abc import Sequence

from stridelab.compare.analysis import Comparison, Row
from stridelab.compare.charts import Bar, BarGroup, bars
from stridelab.compare.markup import count, figure, folded, hint
from stridelab.compare.scales import number
from stridelab.compare.sections.cells import means_table

_BARS_SHOWN = 4


def evaluation(comparison: Comparison) -> str:
    """Return tables of what was measured besides the score."""
    at_end = means_table(
        comparison,
        comparison.metrics("eval/"),
        "Deterministic episodes after training, mean ± standard deviation over runs",
    )
    training = means_table(
        comparison,
        [*comparison.metrics("episode/"), *comparison.metrics("metric/")],
        "The last training iteration, mean ± standard deviation over runs",
    )
    return at_end + (folded("Episodes while training, as a table", training) if training else "")


def rewards(comparison: Comparison) -> str:
    """Return the reward terms of the best and the baseline as bars, of all as a table."""
    names = comparison.metrics("reward/")
    if not names:
        return ""
    shown = [
        row for row in comparison.rows if row.rank <= _BARS_SHOWN or row is comparison.baseline
    ]
    names.sort(key=lambda name: -max(abs(row.means.get(name, 0.0)) for row in shown))
    groups = [_reward_group(name, shown) for name in names]
    groups = [group for group in groups if group.bars]
    half = (len(groups) + 1) // 2
    about = f"Mean reward of each term per second, for {count(len(shown), 'configuration')}."
    xlabel = "weighted reward per second [1/s]"
    charts = figure(bars(groups[:half], about=about, xlabel=xlabel), "The larger terms")
    if groups[half:]:
        smaller = bars(groups[half:], about=about, xlabel=xlabel)
        charts += figure(smaller, "The smaller terms, on a scale of their own")
    every = means_table(comparison, names, "Weighted reward per second [1/s]")
    keys = ", ".join(f"{row.rank} {row.group.label}" for row in shown)
    return (
        hint(f"Weighted mean of each term in the last training iteration. Bars: {keys}.")
        + f'<div class="pair">{charts}</div>'
        + folded("All configurations as a table", every)
    )


def _reward_group(name: str, rows: Sequence[Row]) -> BarGroup:
    return BarGroup(
        label=name.removeprefix("reward/"),
        bars=tuple(
            Bar(
                value=row.means[name],
                text=number(row.means[name], 3),
                rank=row.rank,
                key=str(row.rank),
            )
            for row in rows
            if name in row.means
        ),
    )
