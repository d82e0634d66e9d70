"""Physics engines behind one seam: many simulations of one model as torch tensors."""

from stridelab_envs.physics.simulation import Simulation

__all__ = ["Simulation"]
