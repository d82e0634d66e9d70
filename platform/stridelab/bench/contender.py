"""What takes part in a benchmark: something that does the same work again on command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any


class Contender(ABC):
    """The part that runs in a process of its own."""

    def prepare(self) -> None:  # noqa: B027 (most have nothing to do)
        """Get ready for a round; not timed."""

    @abstractmethod
    def run(self) -> int:
        """Do one round and return the environment steps it took."""

    def close(self) -> None:  # noqa: B027
        """Stop processes that this one has started."""


@dataclass(frozen=True)
class Entry:
    """The part that the parent knows: how a contender is made, and what it needs."""

    name: str
    """Name in results."""
    factory: str
    """``module:callable``; called in the contender's process with ``options`` as keywords."""
    options: dict[str, Any] = field(default_factory=dict)
    """JSON values."""
    needs: tuple[str, ...] = ()
    """Packages that must be installed, by import name."""

    warm_up: bool = False
    """Do a round that is not timed before each one that is: what has slept for long comes back
    with cold caches, and some systems page it out."""

    def missing(self) -> list[str]:
        """Return the needed packages that are not installed."""
        return [package for package in self.needs if find_spec(package) is None]
