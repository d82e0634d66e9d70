"""Thresholds of the environment checker: what is found, and what is left alone."""

import math

import pytest

from stridelab_envs.check.judgement import (
    judge_episodes,
    judge_joints,
    judge_observations,
    judge_rewards,
)
from stridelab_envs.check.report import (
    EpisodeStatistics,
    JointStatistics,
    ObservationStatistics,
    RewardStatistics,
)


def lines(findings):
    return [f"{finding.severity} {finding}" for finding in findings]


def observation(**changes):
    sound = {"mean": 0.1, "std": 1.0, "min": -3.0, "max": 3.0, "constant": 0, "not_finite": 0}
    return ObservationStatistics("policy", "joint_vel", size=4, **{**sound, **changes})


def reward(name="upright", **changes):
    sound = {"fired": 0.5, "mean": 1.0, "min": 0.0, "max": 2.0, "not_finite": 0}
    return RewardStatistics(name, 1.0, **{**sound, **changes})


def joint(name="knee", **changes):
    sound = {"low": -1.0, "high": 1.0, "reach_low": -1.0, "reach_high": 0.5}
    sound |= {"asked": 0.5, "moved": 0.5, "saturated": 0.1}
    return JointStatistics(name, **{**sound, **changes})


def episode(actions="random", **changes):
    sound = {"length": 1.0, "shortest": 0.5, "ended": 0.5, "causes": {"tilted": 0.5}}
    sound |= {"physics_failures": 0, "clipped": 0.0}
    return EpisodeStatistics(actions, **{**sound, **changes})


def test_what_is_sound_is_left_alone():
    assert lines(judge_observations([observation()])) == []
    assert lines(judge_rewards([reward(), reward("slip", min=-99.0)])) == []
    assert lines(judge_joints([joint(), joint("hip", asked=-0.5, moved=-0.3)])) == []
    assert (
        lines(judge_episodes([episode("zero", ended=0.0, causes={}), episode()], 0.02, True)) == []
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"std": 20.0, "max": 60.0},
            "warning observation policy.joint_vel: is far from 1: standard deviation 20, up to 60; "
            "a scale near 0.05 would bring it there",
        ),
        (
            {"min": -500.0},
            "warning observation policy.joint_vel: is far from 1: standard deviation 1, up to 500; "
            "a scale near 0.02 would bring it there",
        ),
        (
            {"std": 0.005},
            "warning observation policy.joint_vel: hardly changes: standard deviation 0.005; "
            "scale it up",
        ),
        (
            {"constant": 4, "std": 0.0, "min": 1.0, "max": 1.0},
            "warning observations policy: never changed: joint_vel",
        ),
        ({"constant": 1}, "warning observation policy.joint_vel: 1 of 4 columns never changed"),
        (
            {"not_finite": 2},
            "error observation policy.joint_vel: 2 values were NaN or infinite",
        ),
    ],
)
def test_observations(changes, expected):
    assert lines(judge_observations([observation(**changes)])) == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fired": 0.0}, "warning reward slip: never fired: it was zero in every step"),
        (
            {"min": -101.0},
            "warning reward slip: is loud: up to 101 per second; clip or weigh it less",
        ),
        ({"max": 2e4}, "error reward slip: explodes: 2e+04 per second"),
        ({"not_finite": 1}, "error reward slip: 1 values were NaN or infinite"),
    ],
)
def test_rewards(changes, expected):
    assert lines(judge_rewards([reward(), reward("slip", **changes)])) == [expected]


def test_rewards_that_are_all_zero():
    found = lines(judge_rewards([reward(fired=0.0)]))
    assert found[0] == "error rewards: no term was ever different from zero"
    assert lines(judge_rewards([])) == found[:1]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"asked": 0.0}, "error joint knee: actions do not move its target: action_scale is zero"),
        ({"moved": 0.02}, "error joint knee: does not move: 0.02 of 0.5 rad asked"),
        ({"moved": -0.3}, "error joint knee: moves the wrong way: -0.3, 0.5 asked"),
        (
            {"moved": 0.2},
            "warning joint knee: follows weakly: 0.2 of 0.5 rad in a second; "
            "raise its gain or torque limit",
        ),
        (
            {"reach_low": -0.1, "reach_high": 0.2},
            "warning joint knee: actions reach little of the range (15%): raise action_scale",
        ),
        (
            {"saturated": 0.7},
            "warning joint knee: random actions hold them at the torque limit for 70% of the "
            "steps: lower action_scale or gains",
        ),
    ],
)
def test_joints(changes, expected):
    assert lines(judge_joints([joint(**changes)])) == [expected]


def test_joints_with_one_fault_are_named_together():
    [found] = judge_joints([joint(saturated=0.6), joint("hip", saturated=0.8), joint("toe")])
    assert found.about == "joints knee, hip"
    assert "60% to 80%" in found.message


def test_a_joint_without_a_range_reaches_all_of_it():
    assert lines(judge_joints([joint(low=-math.inf, high=math.inf)])) == []


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (
            episode(length=0.02),
            "error episodes with random actions: end in the first step (tilted)",
        ),
        (
            episode("zero", length=0.1),
            "warning episodes with zero actions: end after 0.1 s on average (tilted)",
        ),
        (
            episode("zero", physics_failures=3),
            "error episodes with zero actions: physics failed 3 times",
        ),
        (
            episode(physics_failures=3),
            "warning episodes with random actions: physics failed 3 times",
        ),
        (
            episode(ended=0.0, causes={"tilted": 0.0}),
            "warning episodes with random actions: no termination ever fired",
        ),
        (
            episode(clipped=0.95),
            "warning episodes with random actions: the sum of rewards is below zero, hence cut, "
            "in 95% of steps",
        ),
    ],
)
def test_episodes(first, expected):
    assert lines(judge_episodes([first], 0.02, True)) == [expected]


def test_a_task_without_terminations_need_not_end():
    assert lines(judge_episodes([episode(ended=0.0, causes={})], 0.02, False)) == []
