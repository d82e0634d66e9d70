"""The process of one contender: ``python -m stridelab.bench.worker '{"factory": ..., ...}'``.

It answers lines on standard input by lines of JSON on standard output: first, unasked, that it is
ready; then ``{"seconds": ..., "env_steps": ..., "peak_memory": ...}`` for each line; at the end of
input it leaves.
Between rounds it sleeps on its input. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import torch

from stridelab.bench.contender import Contender


def _private_stdout() -> IO[str]:
    """Take standard output for the protocol alone; others then write to standard error."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return own


def make_contender(factory: str, options: dict[str, Any]) -> Contender:
    """Call ``module:callable`` with ``options``."""
    module, _, name = factory.partition(":")
    contender: Contender = getattr(import_module(module), name)(**options)
    return contender


def peak_memory() -> int | None:
    """Return the most memory that this process alone has held so far [bytes]; None off Linux.

    ``getrusage`` would count what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else None


def timed_round(contender: Contender, *, warm_up: bool = False) -> dict[str, float | None]:
    """Run one round; preparing and warming up are not timed."""
    contender.prepare()
    if warm_up:
        contender.run()
    start = time.perf_counter()
    env_steps = contender.run()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "env_steps": env_steps, "peak_memory": peak_memory()}


def serve(
    contender: Contender, commands: IO[str], replies: IO[str], *, warm_up: bool = False
) -> None:
    """Run one round for each line of ``commands``."""
    _send(replies, {"ready": True})
    for _ in commands:
        _send(replies, timed_round(contender, warm_up=warm_up))


def _send(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def main() -> None:
    """Make the contender that the argument describes and serve."""
    replies = _private_stdout()
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec["num_threads"])
    try:
        contender = make_contender(spec["factory"], spec["options"])
        serve(contender, sys.stdin, replies, warm_up=spec["warm_up"])
    except Exception as error:
        traceback.print_exc()
        _send(replies, {"error": f"{type(error).__name__}: {error}"})
        # Threads and actors of a library that broke down must not keep the process alive.
        os._exit(1)
    contender.close()


if __name__ == "__main__":
    main()
