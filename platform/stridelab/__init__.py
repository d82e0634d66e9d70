"""Distributed experiments for legged-robot reinforcement learning.

One YAML file describes an experiment: Ray Tune runs the sweep, RLlib learns, MLflow keeps every
run. The environments live in the separate package ``stridelab_envs``.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("stridelab")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
