"""Running contenders against each other: in processes of their own, turn by turn."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import stridelab
import stridelab_envs
from stridelab.bench.contender import Entry

T = TypeVar("T")

_CLOSING_SECONDS = 20.0
"""How long a contender may take to leave before it is ended."""

OnProgress = Callable[[str], None]
"""Told in a few words what is going on."""


class ContenderError(RuntimeError):
    """A contender broke down; ``str()`` is one line."""


@dataclass
class Match:
    """What came out of several rounds."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Environment steps per second of each contender in each round, [1/s]; equal lengths."""
    env_steps: dict[str, int] = field(default_factory=dict)
    """Environment steps of a contender's last round."""
    peak_memory: dict[str, int] = field(default_factory=dict)
    """Most memory that a contender's process has held, without the processes it started [bytes];
    empty where the system does not tell."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a contender did not take part."""
    seconds: float = 0.0
    """Time of everything, from the start of the first process [s]."""


@dataclass(frozen=True)
class Round:
    """One round of one contender."""

    seconds: float
    """Time it took [s]."""
    env_steps: int
    peak_memory: int | None
    """See :attr:`Match.peak_memory`."""


class Process:
    """A contender's process, seen from the parent; use it as a context manager.

    Args:
        entry: Whom to start.
        num_threads: Threads of torch and of other libraries in each process.
        folder: Working directory of the process, and place of its log.
    """

    def __init__(self, entry: Entry, num_threads: int, folder: Path) -> None:
        self.entry = entry
        folder.mkdir()
        self._log = (folder / "stderr.txt").open("w+", encoding="utf-8", errors="replace")
        spec = {
            "factory": entry.factory,
            "options": entry.options,
            "num_threads": num_threads,
            "warm_up": entry.warm_up,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stridelab.bench.worker", json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=folder,
            env=_environment(num_threads),
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait_ready(self) -> None:
        """Wait until the contender is built.

        Raises:
            ContenderError: If it could not be built.
        """
        self._receive()

    def round(self) -> Round:
        """Run one round.

        Raises:
            ContenderError: If the contender broke down.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer tells why
            self._process.stdin.write("round\n")
            self._process.stdin.flush()
        reply = self._receive()
        return Round(**reply)

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply: dict[str, Any] = json.loads(line) if line else {"error": self._last_words()}
        if "error" in reply:
            raise ContenderError(str(reply["error"]).splitlines()[0])
        return reply

    def _last_words(self) -> str:
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        last = lines[-1] if lines else "no message"
        return f"ended with exit code {self._process.returncode}: {last}"

    def ask_to_leave(self) -> None:
        """Tell the process to end, without waiting for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def close(self) -> None:
        """End the process and all that it started."""
        self.ask_to_leave()
        try:
            self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


def _environment(num_threads: int) -> dict[str, str]:
    """Return this process's environment with thread settings, and with the packages' places."""
    packages = (stridelab, stridelab_envs)
    roots = [str(Path(package.__path__[0]).resolve().parent) for package in packages]
    inherited = os.environ.get("PYTHONPATH", "")
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*roots, *filter(None, inherited.split(os.pathsep))]),
        "OMP_NUM_THREADS": str(num_threads),
        "MKL_NUM_THREADS": str(num_threads),
    }
    # A contender starts a Ray of its own; it must never work on somebody's cluster.
    variables.pop("RAY_ADDRESS", None)
    variables.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    return variables


def compete(
    entries: Sequence[Entry],
    *,
    rounds: int,
    num_threads: int,
    time_limit: float | None = None,
    on_progress: OnProgress = lambda text: None,
) -> Match:
    """Start all contenders, warm each up by a round, and let them take turns.

    A contender that is not installed or breaks down is left out, with the reason. From round to
    round the order is reversed, so that a machine that slows down or speeds up favours nobody.

    Args:
        entries: The contenders.
        rounds: Rounds of each one.
        num_threads: Threads of torch and of other libraries in each process.
        time_limit: No round is started that would probably end later than this after the start
            [s]; one is run in any case.
        on_progress: Told what is going on.
    """
    start = time.perf_counter()
    match = Match()
    for entry in entries:
        if entry.missing():
            match.skipped[entry.name] = f"not installed: {', '.join(entry.missing())}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stridelab-bench-")))
        processes = [
            stack.enter_context(Process(entry, num_threads, folder / entry.name))
            for entry in entries
            if entry.name not in match.skipped
        ]
        for process in processes:
            on_progress(f"starting {process.entry.name}")
            _attempt(match, process, process.wait_ready)
        for process in _still_in(match, processes):
            on_progress(f"warming up {process.entry.name}")
            _attempt(match, process, process.round)
        deadline = None if time_limit is None else start + time_limit
        _play(match, processes, rounds, deadline, on_progress)
        for process in processes:
            process.ask_to_leave()  # all at once, for each takes a while
    match.seconds = time.perf_counter() - start
    return match


def _play(
    match: Match,
    processes: Sequence[Process],
    rounds: int,
    deadline: float | None,
    on_progress: OnProgress,
) -> None:
    longest = 0.0
    for index in range(rounds):
        begun = time.perf_counter()
        if index and deadline is not None and begun + longest > deadline:
            return
        players = _still_in(match, processes)
        for process in reversed(players) if index % 2 else players:
            name = process.entry.name
            on_progress(f"round {index + 1} of {rounds}: {name}")
            result = _attempt(match, process, process.round)
            if result is not None:
                match.env_steps[name] = result.env_steps
                match.rates.setdefault(name, []).append(result.env_steps / result.seconds)
                if result.peak_memory is not None:
                    match.peak_memory[name] = result.peak_memory
        longest = max(longest, time.perf_counter() - begun)


def _still_in(match: Match, processes: Sequence[Process]) -> list[Process]:
    return [process for process in processes if process.entry.name not in match.skipped]


def _attempt(match: Match, process: Process, action: Callable[[], T]) -> T | None:
    """Return what ``action`` returns; take the contender out of the match if it breaks down."""
    try:
        return action()
    except ContenderError as error:
        match.skipped[process.entry.name] = str(error)
        match.rates.pop(process.entry.name, None)
        return None
