"""Policies as MLflow models: a ``pyfunc`` flavour with a signature that answers ``predict``."""

from __future__ import annotations

import logging
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from stridelab.export.bundle import load_bundle
from stridelab.modules.actor_critic import CRITIC
from stridelab.tracking.provenance import versions

MODEL_FOLDER = "model"
"""Folder of the model among a run's artifacts."""
_LOADER = "stridelab.export.pyfunc"


def save_model(bundle: Path, folder: Path) -> None:
    """Write an MLflow model that acts with the policy of a bundle.

    ``mlflow.pyfunc.load_model(folder).predict({"policy": observations})`` takes raw observation
    groups ``(n, size)`` and returns mean actions ``(n, actions)``; this package must be installed.

    Args:
        bundle: Folder of the policy bundle.
        folder: Where to write; must not exist.

    Raises:
        UserError: There is no readable bundle.
    """
    policy = load_bundle(bundle)
    env = policy.description["env"]
    sizes = {
        group: int(space.shape[0])
        for group, space in policy.module.observation_space.items()
        if group != CRITIC  # acting does without
    }
    inputs = [TensorSpec(np.dtype(np.float32), (-1, n), group) for group, n in sizes.items()]
    outputs = [TensorSpec(np.dtype(np.float32), (-1, len(env["joints"])))]
    known = versions()
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # or it tells what it checks
    mlflow.pyfunc.save_model(
        str(folder),
        loader_module=_LOADER,
        data_path=str(bundle),
        signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
        input_example={group: np.zeros((1, n), np.float32) for group, n in sizes.items()},
        # Given, so that MLflow does not run the model in a process of its own to find out.
        pip_requirements=[f"{name}=={known[name]}" for name in ("torch", "mlflow")],
        metadata={"task": env["task"], "robot": env["robot"]},
    )
