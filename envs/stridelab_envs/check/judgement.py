"""From measurements to findings; every threshold of the checker stands here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from stridelab_envs.check.report import (
    EpisodeStatistics,
    Findings,
    JointStatistics,
    ObservationStatistics,
    RewardStatistics,
    error,
    warning,
)

LARGE, SMALL = 10.0, 0.01
"""Standard deviations of an observation outside of these are far from 1."""
HUGE = 100.0
"""An observation beyond this is far from 1 whatever its spread."""
LOUD, EXPLODING = 100.0, 1e4
"""Weighted reward per second [1/s] to look at, and that no critic follows."""
WEAK, STUCK = 0.5, 0.05
"""Share of the way asked for that a joint must go in a second; below the second it is stuck."""
NARROW = 0.2
"""Share of a joint's range that actions must reach."""
SATURATED = 0.5
"""Share of steps at the torque limit to look at."""
CLIPPED = 0.9
"""Share of steps with a sum of rewards below zero that leaves nothing to learn from."""
BRIEF = 0.2
"""An episode shorter than this [s] is over before the policy has acted."""


def judge_observations(observations: Iterable[ObservationStatistics]) -> Findings:
    """Find observations that are not finite, never change, or are far from 1."""
    still: dict[str, list[str]] = {}
    for term in observations:
        about = f"observation {term.group}.{term.name}"
        largest = max(abs(term.min), abs(term.max))
        if term.not_finite:
            yield error(about, f"{term.not_finite} values were NaN or infinite")
        if term.constant == term.size:
            still.setdefault(term.group, []).append(term.name)
        elif term.std > LARGE or largest > HUGE:
            spread = max(term.std, largest / 10.0)
            yield warning(
                about,
                f"is far from 1: standard deviation {term.std:.3g}, up to {largest:.3g}; "
                f"a scale near {_one_digit(1.0 / spread):g} would bring it there",
            )
        elif term.std < SMALL:
            yield warning(about, f"hardly changes: standard deviation {term.std:.2g}; scale it up")
        if 0 < term.constant < term.size:
            yield warning(about, f"{term.constant} of {term.size} columns never changed")
    for group, names in still.items():
        yield warning(f"observations {group}", f"never changed: {', '.join(names)}")


def judge_rewards(rewards: Sequence[RewardStatistics]) -> Findings:
    """Find rewards that are not finite, never fire, or explode."""
    if not any(term.fired for term in rewards):
        yield error("rewards", "no term was ever different from zero")
    for term in rewards:
        about = f"reward {term.name}"
        largest = max(abs(term.min), abs(term.max))
        if term.not_finite:
            yield error(about, f"{term.not_finite} values were NaN or infinite")
        if largest > EXPLODING:
            yield error(about, f"explodes: {largest:.3g} per second")
        elif largest > LOUD:
            yield warning(about, f"is loud: up to {largest:.3g} per second; clip or weigh it less")
        if term.fired == 0.0:
            yield warning(about, "never fired: it was zero in every step")


def judge_joints(joints: Sequence[JointStatistics]) -> Findings:
    """Find joints that actions cannot move, and drives that are too weak."""
    for joint in joints:
        about = f"joint {joint.name}"
        if joint.asked == 0.0:
            yield error(about, "actions do not move its target: action_scale is zero")
            continue
        share = joint.moved / joint.asked
        if abs(share) < STUCK:
            yield error(about, f"does not move: {joint.moved:.3g} of {joint.asked:.3g} rad asked")
        elif share < 0.0:
            yield error(about, f"moves the wrong way: {joint.moved:.3g}, {joint.asked:.3g} asked")
        elif share < WEAK:
            yield warning(
                about,
                f"follows weakly: {joint.moved:.3g} of {joint.asked:.3g} rad in a second; "
                "raise its gain or torque limit",
            )
    narrow = {joint.name: _reach(joint) for joint in joints if _reach(joint) < NARROW}
    if narrow:
        yield warning(
            _joints(narrow),
            f"actions reach little of the range ({_shares(narrow)}): raise action_scale",
        )
    busy = {joint.name: joint.saturated for joint in joints if joint.saturated > SATURATED}
    if busy:
        yield warning(
            _joints(busy),
            f"random actions hold them at the torque limit for {_shares(busy)} of the steps: "
            "lower action_scale or gains",
        )


def _reach(joint: JointStatistics) -> float:
    """Return the share of a joint's range that actions reach; 1 without a range."""
    span = joint.high - joint.low
    return (joint.reach_high - joint.reach_low) / span if math.isfinite(span) else 1.0


def _joints(shares: Mapping[str, float]) -> str:
    return f"joint{'s' if len(shares) > 1 else ''} {', '.join(shares)}"


def _shares(shares: Mapping[str, float]) -> str:
    low, high = min(shares.values()), max(shares.values())
    return f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"


def judge_episodes(
    episodes: Iterable[EpisodeStatistics], control_dt: float, has_terminations: bool
) -> Findings:
    """Find episodes that end at once or never, failing physics, and rewards that are all cut."""
    for first in episodes:
        about = f"episodes with {first.actions} actions"
        causes = ", ".join(name for name, share in first.causes.items() if share) or "physics"
        if first.ended and first.length < 1.5 * control_dt:
            yield error(about, f"end in the first step ({causes})")
        elif first.ended and first.length < BRIEF:
            yield warning(about, f"end after {first.length:.2g} s on average ({causes})")
        if first.physics_failures:
            made = error if first.actions == "zero" else warning
            yield made(about, f"physics failed {first.physics_failures} times")
        if first.actions == "random" and has_terminations and not any(first.causes.values()):
            yield warning(about, "no termination ever fired")
        if first.clipped > CLIPPED:
            yield warning(
                about,
                f"the sum of rewards is below zero, hence cut, in {first.clipped:.0%} of steps",
            )


def _one_digit(value: float) -> float:
    return float(f"{value:.0e}")
