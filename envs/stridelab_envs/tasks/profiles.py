"""How finely physics is stepped: the profiles a task may offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco

INTEGRATORS = {
    "euler": mujoco.mjtIntegrator.mjINT_EULER,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
}
"""Integrators by name. Implicitfast takes the actuators' damping at the end of a step, so a robot
may be stepped coarsely; euler takes it at the start."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Rates and integrator; the control period of a task's profiles is the same."""

    timestep: float
    """Physics step [s]."""
    decimation: int
    """Physics steps per control step."""
    integrator: str
    """Name of the integrator, one of ``INTEGRATORS``."""


def control_profiles(control_dt: float) -> Mapping[str, Profile]:
    """Return the profiles ``fast`` (5 ms) and ``reference`` (1 ms) for a control period [s].

    In ``reference`` the position actuators are a PD law whose torque is computed and clipped anew
    every millisecond from the state at hand, as a robot's own controller does.
    """
    return {
        "fast": Profile(
            timestep=0.005, decimation=round(control_dt / 0.005), integrator="implicitfast"
        ),
        "reference": Profile(
            timestep=0.001, decimation=round(control_dt / 0.001), integrator="euler"
        ),
    }
