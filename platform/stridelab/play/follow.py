"""Watching a training for newer checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from stridelab.export.bundle import Policy, load_bundle
from stridelab.tuning.checkpoints import newest_whole
from stridelab_envs.errors import UserError

_PERIOD_S = 1.0
"""Time between two looks into the folder [s]."""


class Follower:
    """The newest whole checkpoint of a training that may be running.

    It stays with the trial that wrote the newest checkpoint when the watching began, so that the
    robot on the screen does not change its mind with every seed.

    Args:
        folder: Folder of a study, of a trial, or of anything that holds checkpoints.

    Raises:
        UserError: There is no checkpoint yet, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        found = newest_whole(folder)
        if found is None:
            raise UserError(
                f"{folder}: holds no whole checkpoint yet; --follow takes the folder of a training,"
                " such as runs/studies/NAME, which writes one every train.checkpoint_every"
                " iterations"
            )
        self.policy: Policy = load_bundle(found)
        """The policy of :attr:`checkpoint`."""
        self.checkpoint = found
        """The checkpoint taken last."""
        self._trial = found.parent
        self._next_look = time.monotonic() + _PERIOD_S

    def newer(self) -> Policy | None:
        """Return the policy of a checkpoint newer than the last, None if there is none."""
        if time.monotonic() < self._next_look:
            return None
        self._next_look = time.monotonic() + _PERIOD_S
        found = newest_whole(self._trial)
        if found is None or found == self.checkpoint:
            return None
        try:
            self.policy = load_bundle(found)
        except UserError:  # deleted in between: there will be a newer one
            return None
        self.checkpoint = found
        return self.policy
