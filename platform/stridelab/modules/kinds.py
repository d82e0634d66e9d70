"""The modules by the name that experiments and policy bundles give them."""

from __future__ import annotations

from stridelab.modules.actor_critic import ActorCritic
from stridelab.modules.estimator import Estimator

MODULES: dict[str, type[ActorCritic]] = {"actor_critic": ActorCritic, "estimator": Estimator}
"""``model.kind`` to class."""
