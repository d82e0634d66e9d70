"""The policy as MLflow's ``pyfunc`` flavour calls it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stridelab.export.bundle import Policy, load_bundle


class PolicyModel:
    """Acts with a policy bundle on NumPy arrays."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def predict(
        self, model_input: Mapping[str, Any], params: Mapping[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return mean actions ``(n, actions)`` for raw observation groups, each ``(n, size)``."""
        obs = {
            group: torch.as_tensor(np.asarray(value, dtype=np.float32))
            for group, value in model_input.items()
        }
        actions: NDArray[np.float32] = self.policy.act(obs).numpy()
        return actions


def _load_pyfunc(path: str) -> PolicyModel:
    """Load a policy bundle; MLflow looks for a function of this name."""
    return PolicyModel(load_bundle(Path(path)))
