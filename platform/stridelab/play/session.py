"""One robot and its policy, while somebody looks on and interferes."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from stridelab.export.bundle import Policy
from stridelab.play.dials import CommandDials
from stridelab_envs.registry import make_env

Input = Callable[[CommandDials], None]
"""Turns dials once a control step, as a gamepad does."""


class Session:
    """A policy acting in one environment of its own task, in steps that the caller paces.

    Args:
        policy: The policy; its mean action is executed.
        seed: Seed of the environment.
        inputs: What else commands besides the caller.

    Raises:
        UserError: The policy does not fit its task any more.
    """

    def __init__(self, policy: Policy, *, seed: int, inputs: tuple[Input, ...] = ()) -> None:
        # Curricula would move the ranges of the dials.
        task = policy.experiment.task_config().for_evaluation()
        self.env = make_env(task, num_envs=1, seed=seed, num_threads=1)
        self.dials = CommandDials(self.env)
        self.episode_return = 0.0
        """Return of the running episode so far."""
        self.falls = 0
        """Episodes that ended in failure so far."""
        self._inputs = inputs
        self._obs = self.env.reset()
        self.swap(policy)

    @property
    def env_steps(self) -> int:
        """Environment steps after which the policy was saved."""
        return int(self._policy.description["env_steps"])

    @property
    def dt(self) -> float:
        """Time of a control step [s]."""
        return self.env.control_dt

    def swap(self, policy: Policy) -> None:
        """Let another policy go on from here.

        Raises:
            UserError: It is not of this task; the policy at hand stays.
        """
        policy.check_fits(self.env)
        self._policy, self._act = policy, policy.controller(self.env)

    @torch.no_grad()
    def step(self) -> None:
        """Advance by one control step; an episode that ends is followed by the next."""
        for turn in self._inputs:
            turn(self.dials)
        step = self.env.step(self._act(self._obs))
        self._obs = step.obs
        ended = bool(step.terminated[0] | step.truncated[0])
        self.episode_return = 0.0 if ended else self.episode_return + float(step.reward[0])
        self.falls += int(step.terminated[0])

    def reset(self) -> None:
        """Start a new episode."""
        self._obs = self.env.reset()
        self.episode_return = 0.0

    def push(self, force: NDArray[np.float64]) -> None:
        """Pull at bodies from the next step on.

        Args:
            force: Force [N] and torque [N m] on each body, world frame, ``(nbody, 6)``.
        """
        self.env.sim.xfrc_applied[0] = torch.from_numpy(force)

    def place(self, data: mujoco.MjData) -> None:
        """Put the robot where ``data`` has it, with its velocity."""
        sim = self.env.sim
        sim.qpos[0] = torch.from_numpy(data.qpos)
        sim.qvel[0] = torch.from_numpy(data.qvel)
        sim.forward(torch.zeros(1, dtype=torch.long))

    def show(self, data: mujoco.MjData) -> None:
        """Write the present state into ``data``; what is derived from it is not computed."""
        sim = self.env.sim
        data.time = float(sim.time[0])
        data.qpos[:] = sim.qpos[0].numpy()
        data.qvel[:] = sim.qvel[0].numpy()
        data.ctrl[:] = sim.ctrl[0].numpy()
        data.mocap_pos[:] = sim.mocap_pos[0].numpy()
