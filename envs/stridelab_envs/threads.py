"""How many threads torch works on while environments are stepped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work on one thread: an environment's tensors are too small to be shared out.

    Waking the other threads costs several times the work itself, and afterwards they spin for a
    while on the cores that physics, which has its own threads, needs next.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
