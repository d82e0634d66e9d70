"""The environment checker's report as tables for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stridelab_envs.check import Finding, Report
from stridelab_envs.check.report import EpisodeStatistics

_STYLES = {"error": "red", "warning": "yellow"}


def tables(report: Report) -> RenderableType:
    """Return what was measured, one table a kind, and then what was found."""
    return Group(
        _observations(report),
        _rewards(report),
        _joints(report),
        _episodes(report),
        findings(report),
    )


def findings(report: Report) -> RenderableType:
    """Return the findings, errors first, a line each, and the verdict."""
    text = Text()
    for finding in [*report.errors, *report.warnings]:
        text.append(f"{finding.severity}: ", style=_STYLES[finding.severity])
        text.append(f"{finding}\n")
    errors, warnings = _count(report.errors, "error"), _count(report.warnings, "warning")
    text.append(f"{report.task}: {errors}, {warnings}", style="bold")
    return text


def _count(found: list[Finding], word: str) -> str:
    return f"{len(found)} {word}" if len(found) == 1 else f"{len(found)} {word}s"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if index else "left", no_wrap=True)
    return table


def _observations(report: Report) -> Table:
    table = _table("Observations", "term", "size", "mean", "std", "min", "max")
    for term in report.observations:
        numbers = (_number(value) for value in (term.mean, term.std, term.min, term.max))
        table.add_row(f"{term.group}.{term.name}", str(term.size), *numbers)
    return table


def _rewards(report: Report) -> Table:
    table = _table("Rewards, weighted, per second", "term", "weight", "fired", "mean", "min", "max")
    for term in report.rewards:
        numbers = (_number(value) for value in (term.mean, term.min, term.max))
        table.add_row(term.name, _number(term.weight), f"{term.fired:.1%}", *numbers)
    return table


def _joints(report: Report) -> Table:
    table = _table(
        "Joints: one unit of action, hanging free [rad]; random actions at the torque limit",
        "joint", "range", "reach", "asked", "moved", "at limit",
    )  # fmt: skip
    for joint in report.joints:
        table.add_row(
            joint.name,
            f"{joint.low:.2f} … {joint.high:.2f}",
            f"{joint.reach_low:.2f} … {joint.reach_high:.2f}",
            f"{joint.asked:.2f}",
            f"{joint.moved:.2f}",
            f"{joint.saturated:.0%}",
        )
    return table


def _episodes(report: Report) -> Table:
    title = f"First episodes within {report.seconds:g} s of {report.num_envs} environments"
    table = _table(title, "actions", "mean [s]", "shortest [s]", "failed", "by")
    for first in report.episodes:
        table.add_row(
            first.actions,
            f"{first.length:.2f}",
            f"{first.shortest:.2f}",
            f"{first.ended:.0%}",
            _causes(first),
        )
    return table


def _causes(first: EpisodeStatistics) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in first.causes.items() if share)


def _number(value: float) -> str:
    return f"{value:.3g}"
