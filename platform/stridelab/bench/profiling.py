"""Where the time of a training iteration goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from rich.table import Table

from stridelab.bench.training import PlatformTraining

REST = "rest"


class Stopwatch:
    """Shares out time among sections; a section inside another counts for itself only.

    Args:
        clock: Returns the present time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._open = [REST]
        self._since = clock()
        self.seconds: dict[str, float] = {}
        """Time of each section so far [s]; ``rest`` is what no section covers."""

    def _switch(self) -> None:
        """Charge the time since the last change to the innermost section."""
        now, section = self._clock(), self._open[-1]
        self.seconds[section] = self.seconds.get(section, 0.0) + now - self._since
        self._since = now

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count what happens inside for ``name``."""
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def finish(self) -> dict[str, float]:
        """Return the share of each section, all together 1."""
        self._switch()
        total = sum(self.seconds.values())
        return {name: seconds / total for name, seconds in self.seconds.items()}

    @contextmanager
    def watching(self, owner: Any, method: str, name: str) -> Iterator[None]:
        """Count every call of ``owner.method`` for section ``name``; put back at the end."""
        original = getattr(owner, method)
        was_own = method in vars(owner)

        @wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.section(name):
                return original(*args, **kwargs)

        setattr(owner, method, timed)
        try:
            yield
        finally:
            if was_own:
                setattr(owner, method, original)
            else:
                delattr(owner, method)


def profile(training: PlatformTraining, iterations: int) -> dict[str, float]:
    """Return the share of an iteration's time that each part takes, summing to 1.

    ``learner forward`` includes advantages, losses and the gathering of minibatches; ``inference``
    includes the recording of the rollout.

    Args:
        training: The platform, warmed up.
        iterations: Iterations to average over.
    """
    algorithm = training.algorithm
    runner = algorithm.env_runner_group.local_env_runner
    [learner_result] = algorithm.learner_group.foreach_learner(lambda learner: learner)
    learner = learner_result.get()
    watch = Stopwatch()
    places = [
        (runner.env.sim, "step", "physics"),
        (runner.env.sim, "reset", "physics"),
        (runner.env.sim, "forward", "physics"),
        (runner.env, "step", "env terms"),
        (runner, "sample", "inference"),
        (learner, "update_rollout", "learner forward"),
        (torch.Tensor, "backward", "learner backward"),
        (learner.get_optimizer("default_policy"), "step", "learner optimizer"),
        (algorithm.env_runner_group, "sync_weights", "weights sync"),
    ]
    with ExitStack() as stack:
        for owner, method, name in places:
            stack.enter_context(watch.watching(owner, method, name))
        for _ in range(iterations):
            training.run()
        shares = watch.finish()
    order = dict.fromkeys([*(name for _, _, name in places), REST])
    return {name: shares.get(name, 0.0) for name in order}


def table(shares: dict[str, float], seconds: float) -> Table:
    """Return the shares as a table for people; ``seconds`` is the time of one iteration [s]."""
    result = Table("part", "share", "seconds", title=f"one iteration: {seconds:.2f} s")
    for name, share in shares.items():
        result.add_row(name, f"{100 * share:.1f} %", f"{share * seconds:.3f}")
    return result
