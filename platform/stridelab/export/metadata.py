"""What an exported file says of itself: all that playing it on a robot needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco

from stridelab.export.bundle import Policy
from stridelab.export.inference import MARK
from stridelab.modules.actor_critic import POLICY
from stridelab.tracking.provenance import versions
from stridelab_envs.mdp.terms import ObservationTerm
from stridelab_envs.robots import RobotSpec, get_robot

FORMAT = 1
"""Version of the keys below."""


def describe_export(policy: Policy, batch: str) -> dict[str, Any]:
    """Return the metadata of an exported policy, plain data.

    ``default_pose`` is in [rad], ``action_scale`` in [rad] per unit of action, ``kp`` in
    [N m/rad], ``kd`` in [N m s/rad], ``torque_limit`` in [N m], all in the order of ``joints``;
    ``control_dt`` is in [s]. ``observation`` lists the terms of one frame in order: ``name``,
    ``signal`` (what is measured), columns ``start`` to ``stop``, ``scale`` and ``params``.
    ``commands`` holds what commands were drawn from in training.
    """
    env, task = policy.description["env"], policy.experiment.task_config()
    return {
        MARK: FORMAT,
        "task": env["task"],
        "robot": env["robot"],
        "experiment": policy.description["experiment"]["name"],
        "env_steps": policy.description["env_steps"],
        "git_commit": policy.description["git_commit"],
        "batch": batch,
        "joints": env["joints"],
        "default_pose": env["default_pose"],
        "action_scale": env["action_scale"],
        "action_clip": env["action_clip"],
        **actuator_gains(get_robot(env["robot"])),
        "control_dt": env["control_dt"],
        "observation": _frame(env["layouts"][POLICY], task.observations[POLICY]),
        "commands": {name: dict(term.params) for name, term in task.commands.items()},
        "history": {
            "length": env["history"].get(POLICY, 1),
            "order": env["history_order"],
        },
        "versions": versions(),
    }


def actuator_gains(robot: RobotSpec) -> dict[str, list[float]]:
    """Return ``kp``, ``kd`` and ``torque_limit`` of a robot's MJCF, in the order of its joints."""
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    return {
        "kp": model.actuator_gainprm[:, 0].tolist(),
        "kd": (-model.actuator_biasprm[:, 2]).tolist(),
        "torque_limit": model.actuator_forcerange[:, 1].tolist(),
    }


def _frame(
    layout: Mapping[str, Sequence[int]], terms: Mapping[str, ObservationTerm]
) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "signal": terms[name].func.__name__,
            "start": start,
            "stop": stop,
            "scale": terms[name].scale,
            "params": dict(terms[name].params),
        }
        for name, (start, stop) in layout.items()
    ]
