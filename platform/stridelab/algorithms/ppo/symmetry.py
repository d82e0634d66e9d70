"""Left-right symmetry in learning: samples with their mirror images, and a loss between the two.

Both are those of rsl_rl (Mittal et al. 2024, "Symmetry considerations for learning task symmetric
robot policies"), with its choices:

* The mirror image of a sample keeps its advantage, return and old value, and also the old
  log-probability. That is the probability with which the mirrored action was drawn: it was drawn
  as its original. While the policy differs from its own mirror image, ratios of mirror images
  differ from 1 even before the first step; so symmetry is to be on from the start of a training.
* Entropy and what is reported of the policy, hence the adaptive learning rate, are of the samples
  themselves.
* The mirror loss pulls the policy's mean in the mirror to the mirror image of its mean; through
  the latter no gradient flows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stridelab_envs.mirror import TaskMirror


def mirrored_frames(mirror: TaskMirror, frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the mirror images of raw frames by observation group, ``(..., size)``."""
    return {group: mirror.frames(group, value) for group, value in frames.items()}


def with_images(own: Mapping[str, Tensor], images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the rows of a minibatch followed by their mirror images, ``(2 n, ...)``."""
    return {name: torch.cat([value, images[name]]) for name, value in own.items()}


def mirror_loss(mirror: TaskMirror, mean: Tensor, mean_in_mirror: Tensor) -> Tensor:
    """Return the mean squared difference of the policy from its own mirror image.

    Args:
        mirror: The task's mirror.
        mean: Mean actions for observations, ``(n, num_joints)``.
        mean_in_mirror: Mean actions for the mirror images of those observations.
    """
    return (mean_in_mirror - mirror.actions(mean.detach())).square().mean()
