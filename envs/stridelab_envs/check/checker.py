"""Put the checks of a task together."""

from __future__ import annotations

from stridelab_envs.check.contract import Maker, check_contract
from stridelab_envs.check.joints import probe_joints
from stridelab_envs.check.judgement import (
    judge_episodes,
    judge_joints,
    judge_observations,
    judge_rewards,
)
from stridelab_envs.check.probe import Probe
from stridelab_envs.check.report import Report, error
from stridelab_envs.robots import get_robot
from stridelab_envs.robots.check import robot_problems
from stridelab_envs.tasks.config import TaskConfig


def check_task(
    task: TaskConfig,
    *,
    num_envs: int = 64,
    seconds: float = 10.0,
    seed: int = 0,
    num_threads: int = 0,
) -> Report:
    """Find out whether a task is fit to be learned.

    It looks at the robot, at shapes, determinism and saved states, runs the task with zero and
    with random actions, and asks every joint to move.

    Args:
        task: The task.
        num_envs: Environments of each probe.
        seconds: Simulated time of each probe [s].
        seed: Seed of everything that is drawn.
        num_threads: Physics threads; 0 takes every core this process may use.

    Raises:
        UserError: If the task cannot be built at all.
    """
    make = Maker(task, num_envs, num_threads)
    report = Report(task.id, task.robot, num_envs, seconds)
    robot = get_robot(task.robot)
    report.findings += [error(f"robot {robot.name}", text) for text in robot_problems(robot)]
    report.findings += check_contract(make, seed)
    probe = Probe(make, seconds, seed)
    probe.run()
    report.observations = probe.observations()
    report.rewards = probe.rewards()
    report.episodes = probe.episodes
    report.joints = probe_joints(make(seed), probe.saturation())
    report.findings += judge_observations(report.observations)
    report.findings += judge_rewards(report.rewards)
    report.findings += judge_episodes(report.episodes, task.control_dt, bool(task.terminations))
    report.findings += judge_joints(report.joints)
    return report
