"""What differs from environment to environment in the motors."""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.physics import Simulation


class Actuators:
    """Position actuators whose law differs by environment and joint.

    The torque is ``s (kp' (u + o - q) - kd' q_vel)``, clipped to the model's force range: strength
    s, stiffness kp' and damping kd' as factors of the model's, and an offset o [rad] between the
    angle meant and the angle reached. :meth:`apply` puts them into the model's fields.

    Args:
        sim: The simulations.
        num_joints: Number of joints; actuator i drives joint i.
    """

    def __init__(self, sim: Simulation, num_joints: int) -> None:
        self._sim = sim
        self._kp = torch.tensor(sim.model.actuator_gainprm[:num_joints, 0])
        self._kd = torch.tensor(-sim.model.actuator_biasprm[:num_joints, 2])
        shape = (sim.num_envs, num_joints)
        self.stiffness = torch.ones(shape, dtype=torch.float64)
        """Factors of the position gains, ``(num_envs, num_joints)``."""
        self.damping = torch.ones(shape, dtype=torch.float64)
        """Factors of the velocity gains."""
        self.strength = torch.ones(shape, dtype=torch.float64)
        """Factors of the torque before it is clipped."""
        self.offset = torch.zeros(shape, dtype=torch.float64)
        """Offsets of the angles [rad]."""

    def apply(self, ids: Tensor) -> None:
        """Write the actuators of environments ``ids (k,)`` into their models."""
        kp = self.strength[ids] * self.stiffness[ids] * self._kp
        count = kp.shape[1]
        self._sim.model_field("actuator_gainprm")[ids, :count, 0] = kp
        bias = self._sim.model_field("actuator_biasprm")
        bias[ids, :count, 0] = kp * self.offset[ids]
        bias[ids, :count, 1] = -kp
        bias[ids, :count, 2] = -self.strength[ids] * self.damping[ids] * self._kd

    def get_state(self) -> dict[str, Tensor]:
        """Return the factors and offsets."""
        names = ("stiffness", "damping", "strength", "offset")
        return {name: getattr(self, name).clone() for name in names}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`get_state` returned; the models' fields are restored apart."""
        for name, value in state.items():
            getattr(self, name).copy_(value)
