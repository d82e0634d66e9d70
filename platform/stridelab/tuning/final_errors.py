"""Errors after which Tune shall not start a trial again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial

from stridelab.sampling.remote import RunnerError
from stridelab_envs.errors import UserError


def is_final(error: BaseException | None) -> bool:
    """Say whether a trial that ended with this error would end so again.

    Args:
        error: As Tune gets it: what the trial raised is inside, as its cause.
    """
    if isinstance(error, RayActorError) and error.actor_init_failed and error.args:
        error = error.args[0]
    if isinstance(error, RayTaskError):
        error = error.cause
    return isinstance(error, UserError | RunnerError)


@contextmanager
def final_errors() -> Iterator[None]:
    """Let trials that end with such an error fail at once, however many failures are allowed.

    Tune knows how often a trial may fail, not why it did, and has no hook between the two.
    """
    handle_error = Trial.handle_error

    def handle(trial: Trial, exc: Any = None) -> None:
        handle_error(trial, exc)
        if is_final(exc):
            metadata = trial.run_metadata
            metadata.num_failures = max(metadata.num_failures, trial.max_failures + 1)

    Trial.handle_error = handle
    try:
        yield
    finally:
        Trial.handle_error = handle_error
