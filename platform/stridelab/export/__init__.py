"""Policies that leave the platform: bundles for evaluation, playback and robots."""

from stridelab.export.bundle import Policy, load_bundle, save_bundle

__all__ = ["Policy", "load_bundle", "save_bundle"]
