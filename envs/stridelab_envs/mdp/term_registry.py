"""Terms of installed packages, which an experiment adds to a task by naming them.

A package offers a term function by an entry point whose group is the table it goes into, for
example ``stridelab.rewards``. Each of its parameters needs a default: those are what
:attr:`RewardTerm.params` and the like start with, and what an experiment may change.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stridelab_envs.errors import UserError
from stridelab_envs.mdp.terms import (
    CommandTerm,
    ObservationTerm,
    RandomizationTerm,
    RewardTerm,
    StateTerm,
)
from stridelab_envs.plugins import Registry

Term = RewardTerm | ObservationTerm | StateTerm | RandomizationTerm | CommandTerm


@dataclass(frozen=True)
class _Table:
    functions: Registry[Callable[..., Any]]
    term: Callable[..., Term]
    given: tuple[str, ...] = ("state",)
    """What the environment passes; everything else is a parameter."""


def _table(kind: str, group: str, term: Callable[..., Term], *given: str) -> _Table:
    return _Table(Registry(kind, group), term, ("state", *given))


_TABLES = {
    "reward": _table("reward", "stridelab.rewards", RewardTerm),
    "observation": _table("observation", "stridelab.observations", ObservationTerm),
    "termination": _table("termination", "stridelab.terminations", StateTerm),
    "command": _table("command", "stridelab.commands", CommandTerm),
    "randomization": _table("randomization", "stridelab.randomization", RandomizationTerm, "ids"),
}


def register_term(kind: str, name: str, func: Callable[..., Any]) -> None:
    """Offer a term function to every task.

    Args:
        kind: ``reward``, ``observation``, ``termination``, ``randomization`` or ``command``.
        name: Name in the experiment file.
        func: The function; every parameter after ``state`` (and ``ids``) has a default.

    Raises:
        ValueError: If the name is taken.
    """
    _TABLES[kind].functions.register(name, func)


def term_names(kind: str) -> list[str]:
    """Return the names of the terms of a kind that can be added to any task, sorted."""
    return _TABLES[kind].functions.names() if kind in _TABLES else []


def registered_term(kind: str, name: str) -> Term:
    """Return a registered term with its function's own parameters.

    Raises:
        ConfigError: If there is no such term.
        UserError: If it cannot be loaded or its function has the wrong form.
    """
    table = _TABLES[kind]
    func = table.functions.find(name)
    where = f'{kind} "{name}" of {table.functions.origin(name)}'
    if not callable(func):
        raise UserError(f"{where} must be a function, got {type(func).__name__}")
    parameters = list(inspect.signature(func).parameters.values())
    if tuple(p.name for p in parameters[: len(table.given)]) != table.given:
        raise UserError(f"{where} must take {', '.join(table.given)} first")
    settings = parameters[len(table.given) :]
    for parameter in settings:
        if parameter.default is parameter.empty:
            raise UserError(f'{where}: its parameter "{parameter.name}" needs a default')
    return table.term(func=func, params={p.name: p.default for p in settings})
