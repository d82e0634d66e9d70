"""Sampling with remote runners, any of which may raise, hang or be killed."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from stridelab.sampling.rollout import Rollout
from stridelab_envs.errors import UserError

logger = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 3
"""Failures of one runner, without a rollout between them, that end the training."""
_SLOW = 5.0
"""A runner hangs when it takes this many times as long as the first one that was ready."""
_LOOK_S = 0.5
"""Time between two looks at the clock while runners sample or start again [s]."""
_SAMPLE, _PROBE = "sample", "probe"
"""What is asked of runners without waiting."""


class RunnerError(RuntimeError):
    """A runner fails again and again; starting the trial anew would not help."""


@dataclass(frozen=True)
class _Failure:
    """What a runner sends in place of a rollout."""

    summary: str
    """One line."""
    details: str = ""
    """The traceback."""
    is_user_error: bool = False


class RemoteSampler:
    """Samples with all remote runners of a group at once, and goes on without those that fail.

    A runner that fails is started again by Ray, at once. RLlib's own way waits for the slowest
    runner for minutes, and does not tell why one failed.

    Args:
        group: The runners.
        restore: Takes runners back that have started again; see :meth:`probe`.
        patience_s: A runner is given at least this time after it was asked before it counts as
            hanging, once another one is ready [s].
        timeout_s: How long to wait for the first rollout, and for a runner to start again [s].
    """

    def __init__(
        self,
        group: EnvRunnerGroup,
        restore: Callable[[], object],
        *,
        patience_s: float,
        timeout_s: float,
    ) -> None:
        self._manager = group._worker_manager
        self._restore = restore
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._failures: dict[int, int] = {}

    def sample(self, held: Mapping[str, int], curriculum: Mapping[str, float]) -> list[Rollout]:
        """Return the rollouts of all runners that brought one, in the order of the runners.

        Where none did, they are started again and asked again.

        Args:
            held: See :meth:`BatchedEnvRunner.sample`.
            curriculum: See :meth:`BatchedEnvRunner.sample`.

        Raises:
            RunnerError: A runner failed three times in a row.
            UserError: A runner found a mistake of the user.
            RuntimeError: None came back, or one could not be built again.
        """
        ask = partial(_sample, held=dict(held), curriculum=dict(curriculum))
        while not (rollouts := self._sample_once(ask)):
            self._wait_for_one()
        return rollouts

    def probe(self) -> list[int]:
        """Mark runners healthy that have started again, and return them.

        Raises:
            RuntimeError: One could not be built again.
        """
        manager = self._manager
        healthy = set(manager.healthy_actor_ids())
        missing = [runner for runner in manager.actor_ids() if runner not in healthy]
        if not missing:
            return []
        # One that is starting answers once it has started: it is asked no second time until then.
        manager.foreach_actor_async(
            lambda runner: runner.ping(), tag=_PROBE, healthy_only=False, remote_actor_ids=missing
        )
        for answer in manager.fetch_ready_async_reqs(tags=_PROBE, mark_healthy=True):
            error = answer.get()
            if isinstance(error, RayActorError) and error.actor_init_failed:
                raise RuntimeError(
                    f"environment runner {answer.actor_id} does not start again: {error}"
                ) from error
        return [runner for runner in missing if manager.is_actor_healthy(runner)]

    def _wait_for_one(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self._manager.healthy_actor_ids():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"no environment runner has started again within {self._timeout_s:g} s"
                )
            time.sleep(_LOOK_S)
            self._restore()

    def _sample_once(self, ask: Callable[[Any], Any]) -> list[Rollout]:
        manager = self._manager
        waiting = set(manager.healthy_actor_ids())
        rollouts: dict[int, Rollout] = {}
        started_at = time.monotonic()
        limit = self._timeout_s
        manager.foreach_actor_async(ask, tag=_SAMPLE)
        while waiting:
            answers = manager.fetch_ready_async_reqs(tags=_SAMPLE, timeout_seconds=_LOOK_S)
            elapsed = time.monotonic() - started_at
            is_first = not rollouts
            for answer in answers:
                waiting.discard(answer.actor_id)
                self._take(answer.actor_id, answer.get(), rollouts)
            if is_first and rollouts:
                limit = min(limit, max(self._patience_s, _SLOW * elapsed))
            if elapsed > limit:
                for runner in waiting:
                    self._restart(runner)
                    self._note(runner, _Failure(f"no rollout within {limit:.3g} s"))
                break
        return [rollouts[runner] for runner in sorted(rollouts)]

    def _take(self, runner: int, answer: Any, rollouts: dict[int, Rollout]) -> None:
        if isinstance(answer, Rollout):
            rollouts[runner] = answer
            self._failures.pop(runner, None)
            return
        if isinstance(answer, _Failure):
            self._restart(runner)
            self._note(runner, answer)
        else:  # Ray is starting another one
            self._note(runner, _Failure(f"its process was lost: {_line(str(answer))}"))

    def _restart(self, runner: int) -> None:
        self._manager.set_actor_state(runner, healthy=False)
        ray.kill(self._manager.actors()[runner], no_restart=False)

    def _note(self, runner: int, failure: _Failure) -> None:
        """Count a failure.

        Raises:
            RunnerError: It was one too many.
            UserError: Starting the runner again would not help.
        """
        if failure.is_user_error:
            raise UserError(failure.summary)
        count = self._failures[runner] = self._failures.get(runner, 0) + 1
        if count >= FAILURES_IN_A_ROW:
            raise RunnerError(
                f"{failure.details}\nenvironment runner {runner} failed {count} times in a row: "
                f"{failure.summary}".lstrip()
            )
        logger.warning("environment runner %d starts again: %s", runner, failure.summary)


def _sample(
    runner: Any, held: Mapping[str, int], curriculum: Mapping[str, float]
) -> Rollout | _Failure:
    """Sample on a runner's machine; an exception comes back as what it says."""
    try:
        rollout: Rollout = runner.sample(held=held, curriculum=curriculum)
    except UserError as error:
        return _Failure(str(error), is_user_error=True)
    except Exception as error:
        summary = _line(f"{type(error).__name__}: {error}")
        return _Failure(summary, traceback.format_exc().rstrip())
    return rollout


def _line(text: str) -> str:
    return " ".join(text.split())
