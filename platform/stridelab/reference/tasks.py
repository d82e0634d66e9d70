"""The page of a task: what it observes, pays for, asks for and changes at random."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from stridelab.reference.markdown import (
    code,
    description,
    number,
    page,
    section,
    settings,
    summary,
    table,
)
from stridelab_envs.batch_env import BatchEnv
from stridelab_envs.registry import find_factory, get_task, make_env
from stridelab_envs.robots import get_robot
from stridelab_envs.tasks.config import TaskConfig


def task_page(task_id: str) -> str:
    """Return the page of a task."""
    task = get_task(task_id)
    env = make_env(task, num_envs=1, seed=0, num_threads=1)
    return page(
        task_id,
        task.description,
        _story(task_id),
        f"```sh\nstridelab check {task_id}\n```",
        section("Rates and actions", _facts(task, env)),
        *(_observations(task, env, group) for group in task.observations),
        section("Rewards", _rewards(task), _presets(task)),
        section("Commands", _terms(task.commands)),
        section("Terminations", _terms(task.terminations)),
        section("Randomisation", _randomization(task)),
        section("Metrics", _terms(task.metrics)),
    )


def _story(task_id: str) -> str:
    """Return what the module of the task says of it."""
    module = inspect.getmodule(find_factory(task_id))
    return description(module) if module is not None else ""


def _facts(task: TaskConfig, env: BatchEnv) -> str:
    robot = get_robot(task.robot)
    scale = task.action_scale
    scales = settings(scale) if isinstance(scale, Mapping) else f"{number(float(scale))} rad"
    facts = {
        "robot": f"`{task.robot}`, {robot.num_joints} joints, {robot.home_height:.3f} m high",
        "control": f"{1.0 / task.control_dt:g} Hz, {task.decimation} physics steps of "
        f"{task.timestep:g} s",
        "episode": f"{task.episode_length_s:g} s, {task.max_episode_steps} control steps",
        "action": f"{env.action_dim} joint targets around the default pose, per unit {scales}; "
        f"clipped to ±{task.action_clip:g}",
        "profiles": ", ".join(code(name) for name in task.profiles),
    }
    if task.action_delay or task.action_noise:
        facts["applied action"] = (
            f"up to {task.action_delay:g} of the one before, noise {task.action_noise:g}"
        )
    if task.only_positive_rewards:
        facts["sum of rewards"] = "clipped at zero from below"
    return table(["", ""], [(name, text) for name, text in facts.items() if text])


def _observations(task: TaskConfig, env: BatchEnv, group: str) -> str:
    frames = task.history.get(group, 1)
    size = env.observation_sizes[group]
    told = f"{size} numbers"
    if frames > 1:
        told += f": {frames} frames of {size // frames}, oldest first; columns are those of a frame"
    rows = []
    for name, columns in env.layouts[group].items():
        term = task.observations[group][name]
        noise = f"±{number(term.noise)}" if term.noise else ""
        scale = number(term.scale) if term.scale != 1.0 else ""
        last = columns.stop - 1
        place = f"{columns.start}-{last}" if last > columns.start else str(last)
        rows.append((code(name), place, _meaning(term), scale, noise))
    header = ["term", "columns", "meaning", "scale", "noise"]
    return section(f"Observation group `{group}`", told + ".", table(header, rows))


def _rewards(task: TaskConfig) -> str:
    rows = [
        (
            code(name),
            number(term.weight),
            _meaning(term),
            "" if term.clip is None else f"{term.clip[0]:g} to {term.clip[1]:g}",
        )
        for name, term in task.rewards.items()
        if term.weight
    ]
    off = [code(name) for name, term in task.rewards.items() if not term.weight]
    told = "A weight counts per second of simulated time."
    if off:
        told += f" Switched off, but ready: {', '.join(off)}."
    return told + "\n\n" + table(["term", "weight", "meaning", "clip"], rows)


def _presets(task: TaskConfig) -> str:
    presets = task.reward_presets
    if not presets:
        return ""
    terms = [name for name in task.rewards if any(name in preset for preset in presets.values())]
    rows = [
        (code(term), *(number(p[term]) if term in p else "" for p in presets.values()))
        for term in terms
    ]
    return "Presets, chosen by `task.rewards`:\n\n" + table(["term", *presets], rows)


def _randomization(task: TaskConfig) -> str:
    rows = []
    for name, term in task.randomization.items():
        when = "at the start"
        if term.interval_s is not None:
            when = f"every {term.interval_s[0]:g} to {term.interval_s[1]:g} s"
        rows.append((code(name), _meaning(term), when))
    return table(["term", "meaning", "when"], rows)


def _terms(terms: Mapping[str, Any]) -> str:
    return table(
        ["term", "meaning"], [(code(name), _meaning(term)) for name, term in terms.items()]
    )


def _meaning(term: Any) -> str:
    told, params = summary(term.func), settings(term.params)
    return f"{told} {params}" if params else told
