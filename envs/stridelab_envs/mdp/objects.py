"""A scene's objects in every simulation: put in their places, weighed, looked at by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stridelab_envs.mdp.math import gravity_direction
from stridelab_envs.physics import Simulation


class Objects:
    """The objects of ``num_envs`` simulations.

    A simulation that is reset has all objects parked (see ``robots/objects.py``); :meth:`place`
    brings those that are needed. The caller computes the derived fields afterwards.

    Args:
        sim: The simulations.
        names: The scene's objects.
    """

    def __init__(self, sim: Simulation, names: Sequence[str]) -> None:
        self._sim = sim
        model = sim.model
        self._bodies = {name: int(model.body(name).id) for name in names}
        self._mocap = {
            name: int(model.body_mocapid[body])
            for name, body in self._bodies.items()
            if model.body_mocapid[body] >= 0
        }
        self.free = tuple(name for name in names if name not in self._mocap)
        """Names of the objects that move freely."""
        self._free_bodies = [self._bodies[name] for name in self.free]

    def park(self, ids: Tensor) -> None:
        """Make the parked free objects of simulations ``ids (k,)``, just reset, hang in the air."""
        if self._free_bodies:
            weightless = self._sim.model_field("body_gravcomp")
            weightless[ids[:, None], torch.tensor(self._free_bodies)] = 1.0

    def place(self, name: str, ids: Tensor, pos: Tensor) -> None:
        """Put an object of simulations ``ids (k,)`` at ``pos (k, 3)`` [m], world frame."""
        if name in self._mocap:
            self._sim.mocap_pos[ids, self._mocap[name]] = pos.double()
            return
        start = self._qpos_start(name)
        self._sim.qpos[ids, start : start + 3] = pos.double()
        self._sim.model_field("body_gravcomp")[ids, self._bodies[name]] = 0.0

    def set_mass(self, name: str, ids: Tensor, mass: Tensor) -> None:
        """Give a free object of simulations ``ids (k,)`` the masses ``mass (k,)`` [kg].

        Its inertia changes in proportion.
        """
        body, sim = self._bodies[name], self._sim
        share = mass.double() / float(sim.model.body_mass[body])
        sim.model_field("body_mass")[ids, body] = mass.double()
        inertia = torch.from_numpy(sim.model.body_inertia[body])
        sim.model_field("body_inertia")[ids, body] = share[:, None] * inertia
        sim.set_const(ids)

    def open_hinge(self, name: str, ids: Tensor, angle: Tensor) -> None:
        """Set a hinge of simulations ``ids (k,)`` to ``angle (k,)`` [rad]."""
        self._sim.qpos[ids, self._qpos_start(name)] = angle.double()

    def hinge_angles(self, names: Sequence[str]) -> Tensor:
        """Return the angles of hinges [rad], ``(num_envs, len(names))``."""
        return self._sim.read("qpos")[:, [self._qpos_start(name) for name in names]]

    def lin_vel(self, name: str) -> Tensor:
        """Return the velocity of a free object [m/s], world frame, ``(num_envs, 3)``."""
        start = int(self._sim.model.joint(name).dofadr[0])
        return self._sim.read("qvel")[:, start : start + 3]

    def mass(self, name: str) -> Tensor:
        """Return the masses of an object [kg], ``(num_envs,)``."""
        return self._sim.model_field("body_mass")[:, self._bodies[name]].float()

    def uprightness(self, name: str) -> Tensor:
        """Return the world z of a free object's own z axis, 1 when upright, ``(num_envs,)``."""
        start = self._qpos_start(name) + 3
        return -gravity_direction(self._sim.read("qpos")[:, start : start + 4])[:, 2]

    def _qpos_start(self, joint: str) -> int:
        return int(self._sim.model.joint(joint).qposadr[0])
