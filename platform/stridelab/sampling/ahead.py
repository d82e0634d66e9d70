"""Sampling the next rollouts while the learner works on the last ones."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from stridelab.sampling.rollout import Rollout


class SamplingAhead:
    """One rollout of every runner under way in a thread of its own.

    Physics, inference and waiting for other processes all let the interpreter go.

    Args:
        sample: Samples; never called twice at once.
    """

    def __init__(self, sample: Callable[[], list[Rollout]]) -> None:
        self._sample = sample
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sampling")
        self._under_way: Future[list[Rollout]] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether runners are sampling at this moment."""
        return self._under_way is not None and not self._under_way.done()

    def start(self) -> None:
        """Begin to sample."""
        assert self._under_way is None
        self._under_way = self._thread.submit(self._sample)

    def take(self) -> list[Rollout]:
        """Return what has been sampled, after waiting for it; sample now if nothing was begun.

        Raises:
            Exception: What sampling raised.
        """
        if self._under_way is None:
            return self._sample()
        under_way, self._under_way = self._under_way, None
        return under_way.result()

    def settle(self) -> None:
        """Wait until no runner samples; what came of it is kept for :meth:`take`."""
        if self._under_way is not None:
            self._under_way.exception()

    def drop(self) -> None:
        """Wait, and forget what came of it."""
        self.settle()
        self._under_way = None

    def close(self) -> None:
        """Wait and end the thread."""
        self.drop()
        self._thread.shutdown()
