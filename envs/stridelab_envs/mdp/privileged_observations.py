"""What differs from robot to robot and no sensor tells: for teachers and critics.

Each returns ``(num_envs, k)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stridelab_envs.mdp.mirror import UNCHANGED, VECTOR, Mirror, Scene, midplane_body, mirrored
from stridelab_envs.mdp.state import State


def _of_midplane_body(scene: Scene, body: str) -> Mirror:
    midplane_body(scene, body)  # refuses a body that belongs to a side
    return VECTOR(scene)


@mirrored(_of_midplane_body)
def centre_of_mass_shift(state: State, body: str) -> Tensor:
    """How far the centre of mass of ``body`` lies from its place in the model [m], body frame."""
    number = state.sim.model.body(body).id
    nominal = torch.tensor(state.sim.model.body_ipos[number])
    return (state.sim.model_field("body_ipos")[:, number] - nominal).float()


@mirrored(UNCHANGED)
def action_lag(state: State) -> Tensor:
    """How late targets reach the motors [s]; zero where nothing delays them."""
    return state.lags.action()
