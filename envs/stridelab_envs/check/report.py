"""What the environment checker measures and finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks so."""

    severity: Severity
    """``error``: learning will fail or mislead; ``warning``: look at it."""
    about: str
    """What it is about, for example ``reward foot_slip``."""
    message: str
    """What was seen, on one line."""

    def __str__(self) -> str:
        return f"{self.about}: {self.message}"


@dataclass(frozen=True)
class ObservationStatistics:
    """One term of an observation group over all probes, as the policy sees it."""

    group: str
    name: str
    size: int
    mean: float
    std: float
    """Root mean square over the columns of each column's standard deviation."""
    min: float
    max: float
    constant: int
    """Columns that never changed."""
    not_finite: int
    """Values that were NaN or infinite; the other numbers leave them out."""


@dataclass(frozen=True)
class RewardStatistics:
    """One reward term over all probes: weighted, per second."""

    name: str
    weight: float
    fired: float
    """Share of steps in which it was not zero."""
    mean: float
    min: float
    max: float
    not_finite: int


@dataclass(frozen=True)
class JointStatistics:
    """What one unit of action does to a joint, and what random actions do."""

    name: str
    low: float
    high: float
    """Range [rad]; infinite without one."""
    reach_low: float
    reach_high: float
    """Targets [rad] at the least and greatest action, within the range."""
    asked: float
    """Change of the target [rad] by one unit of action, to the side where it goes further."""
    moved: float
    """How far the joint went in a second, hanging free."""
    saturated: float
    """Share of steps of random actions in which its torque was at the limit."""


@dataclass(frozen=True)
class EpisodeStatistics:
    """First episodes under one kind of action."""

    actions: str
    """``zero`` or ``random``."""
    length: float
    """Mean length [s]; those still running count with the time they had."""
    shortest: float
    """[s]"""
    ended: float
    """Share that ended in failure within the probe."""
    causes: dict[str, float]
    """Share of first episodes that each termination ended."""
    physics_failures: int
    clipped: float
    """Share of steps whose sum of rewards was below zero and clipped."""


@dataclass
class Report:
    """Everything that the checker measured and found of a task."""

    task: str
    robot: str
    num_envs: int
    seconds: float
    observations: list[ObservationStatistics] = field(default_factory=list)
    rewards: list[RewardStatistics] = field(default_factory=list)
    joints: list[JointStatistics] = field(default_factory=list)
    episodes: list[EpisodeStatistics] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """Findings that must be mended."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings to look at."""
        return [finding for finding in self.findings if finding.severity == "warning"]

    def record(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return asdict(self)


Findings = Iterator[Finding]


def error(about: str, message: str) -> Finding:
    """Return an error."""
    return Finding("error", about, message)


def warning(about: str, message: str) -> Finding:
    """Return a warning."""
    return Finding("warning", about, message)
