"""Sending records to a server that may be away: short retries, then the spool, then replay."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from mlflow.exceptions import MlflowException
from requests.exceptions import RetryError

from stridelab.tracking.provenance import without_password
from stridelab.tracking.requests import Request, requests_of
from stridelab.tracking.spool import Record, Spool

logger = logging.getLogger(__name__)

_RETRY_DELAYS_S = (0.1, 0.4)
_RETRY_BUDGET_S = 2.0  # no further attempt once the first ones took this long (a hanging server)
_FIRST_PAUSE_S = 5.0  # while the server is away: pause between attempts, doubled each time
_MAX_PAUSE_S = 120.0
_FLUSH_BUDGET_S = 2.0
_WINDOW = 1000  # records of the spool that are put into requests together
# Failures of one record after which it is rejected: the server answers with an error each time, or
# it answers other requests but not this one. A busy server does the latter for a while.
_STRIKES = 3
_SILENT_STRIKES = 12

# Answers that will be the same next time. Missing rights are not among them: those get repaired.
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "NOT_IMPLEMENTED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)


class Outbox:
    """Carries records out in their order; :meth:`send` never raises because of the server.

    Args:
        execute: Carries the records of one request out; all but batches come alone. It may be
            called twice for the same record.
        answers: Tells whether the server answers at all.
        spool: Takes the records while the server is away.
    """

    def __init__(
        self, execute: Callable[[Request], None], answers: Callable[[], bool], spool: Spool
    ) -> None:
        self.spool = spool
        self._execute = execute
        self._answers = answers
        self._pause_s = 0.0
        self._next_attempt = 0.0  # time.monotonic()
        self._strikes = 0
        self._warned: set[str] = set()
        self._requests: list[Request] = []  # of the oldest spooled records, what is not sent yet
        self._window = 0  # number of these records
        self._progress = 0  # requests of the spool that were sent, or made smaller

    @property
    def is_away(self) -> bool:
        """Whether the server did not answer and is not to be asked for a while."""
        return time.monotonic() < self._next_attempt

    def send(self, record: Record) -> None:
        """Carry ``record`` out now, or after those that wait already."""
        if self.spool.pending or self.is_away:
            self._put_away(record)
            self.flush()
            return
        error = self._attempt([record])
        if error is None:
            return
        if is_refusal(error):
            self._warn_rejected(record, error)
            self.spool.reject(record, one_line(error))
        else:
            self._put_away(record)
            self._back_off(error)

    def flush(self, budget_s: float = _FLUSH_BUDGET_S, *, now: bool = False) -> bool:
        """Carry spooled records out, oldest first, for at most about ``budget_s`` seconds [s].

        While the server is away it is asked at growing intervals only, so that this may be called
        at every step of a loop; ``now`` asks in any case.

        Returns:
            True when nothing is left.
        """
        if not now and self.is_away:
            return not self.spool.pending
        deadline = time.monotonic() + budget_s
        while request := self._next_request():
            error = self._attempt(request)
            if error is None:
                self._done()
            elif len(request) > 1 and self._halve(error):
                continue
            elif is_refusal(error) or (len(request) == 1 and self._is_poison(error)):
                self._warn_rejected(request[0], error)
                self.spool.reject(request[0], one_line(error))
                self._done(keep_copies=True)
            else:
                self._back_off(error)
                return False
            if time.monotonic() > deadline:
                break
        return not self.spool.pending

    def drain(self, patience_s: float) -> bool:
        """Carry out all that is spooled, however long that takes while the server takes it.

        A server that is away is asked once; one that has taken records and falls silent, until
        ``patience_s`` seconds [s] have passed without another one.

        Returns:
            True when nothing is left.
        """
        progress, last_sent = self._progress, None
        while not self.flush(now=True):
            now = time.monotonic()
            if self._progress > progress:
                progress, last_sent = self._progress, now
            elif last_sent is None or now - last_sent > patience_s:
                return False
            if self.is_away:
                time.sleep(_RETRY_DELAYS_S[-1])
        return True

    def _put_away(self, record: Record) -> None:
        if record["op"] == "artifact":  # the original may be gone when the server is back
            record = {**record, "copy": self.spool.keep_copy(Path(record["path"]))}
        self.spool.append(record)

    def _next_request(self) -> Request | None:
        """Return what of the spool is to be sent next, None when it is empty."""
        if not self._requests:
            self._requests = requests_of(islice(self.spool.peek(), _WINDOW))
            self._window = sum(map(len, self._requests))
        return self._requests[0] if self._requests else None

    def _done(self, *, keep_copies: bool = False) -> None:
        """Go on to the next request; with the last one of a window its records are removed."""
        self._strikes = 0
        self._progress += 1
        del self._requests[0]
        if not self._requests:
            self.spool.pop(self._window, keep_copies=keep_copies)

    def _halve(self, error: Exception) -> bool:
        """Make two of a request, where one record of it may be wrong or they are too many at once.

        Returns:
            Whether to go on at once.
        """
        if is_refusal(error) or self._answers():
            request, self._progress = self._requests[0], self._progress + 1
            half = len(request) // 2
            self._requests[:1] = [request[:half], request[half:]]
        return is_refusal(error)

    def _attempt(self, request: Request) -> Exception | None:
        """Carry a request out, with short retries; return the last error, None on success."""
        start = time.monotonic()
        for delay in (*_RETRY_DELAYS_S, None):
            try:
                self._execute(request)
            except Exception as error:  # artifact stores raise errors of their own libraries
                late = time.monotonic() - start > _RETRY_BUDGET_S
                if delay is None or late or is_refusal(error):
                    return error
                time.sleep(delay)
            else:
                self._pause_s = self._next_attempt = 0.0
                return None
        raise AssertionError("the last delay is None")

    def _is_poison(self, error: Exception) -> bool:
        """Tell whether the oldest record fails again and again although the server answers."""
        answered = _is_answer(error)
        if not self._answers() or (self.is_away and not answered):  # asked again before its time
            return False
        self._strikes += 1
        return self._strikes >= (_STRIKES if answered else _SILENT_STRIKES)

    def _back_off(self, error: Exception) -> None:
        if not self._pause_s:
            logger.warning("tracking: not sent, spooled for later: %s", one_line(error))
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _MAX_PAUSE_S)
        self._next_attempt = time.monotonic() + self._pause_s

    def _warn_rejected(self, record: Record, error: Exception) -> None:
        reason = one_line(error)
        if reason not in self._warned:  # a deleted run would else warn at every iteration
            self._warned.add(reason)
            kept = self.spool.folder / "rejected.jsonl"
            logger.warning("tracking: refused (%s), kept in %s: %s", record["op"], kept, reason)


def is_refusal(error: Exception) -> bool:
    """Tell an answer that will not change from a server or network that is away."""
    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):  # an artifact store that speaks HTTP
        return 400 <= status < 500 and status not in (401, 403, 408, 429)
    if isinstance(error, OSError):  # connection errors, too
        return isinstance(error, FileNotFoundError)
    return isinstance(error, TypeError | ValueError | LookupError | AttributeError)


def _is_answer(error: Exception) -> bool:
    """Tell an error that the server reports from a connection that broke or took too long."""
    reason = error.__context__ if isinstance(error, MlflowException) else error
    if isinstance(reason, RetryError):  # the server answers with 500 or the like, MLflow gives up
        return True
    return getattr(reason, "response", None) is not None or not isinstance(reason, OSError)


def one_line(error: Exception) -> str:
    """Return the first line of an error's text, short and without passwords."""
    lines = without_password(str(error)).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
