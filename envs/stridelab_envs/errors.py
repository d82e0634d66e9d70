"""Errors a user can mend: each is one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user asked for cannot be done; ``str()`` is one line that says why."""


class ConfigError(UserError):
    """A configuration value is wrong.

    Args:
        path: Dotted path of the key, for example ``task.rewards.upright``; ``""`` for the whole.
        message: What is wrong and what is allowed, on one line.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}" if path else message)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str]]:
        # Exceptions are rebuilt from their text alone, which this one is not built from.
        return type(self), (self.path, self.message)

    def under(self, prefix: str) -> ConfigError:
        """Return the same error with ``prefix`` put before its path."""
        return ConfigError(f"{prefix}.{self.path}" if self.path else prefix, self.message)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Say that ``name`` is no known ``kind``, with the nearest right name and the choices."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(names) if names else "none"
    return f'unknown {kind} "{name}"{hint} (known: {listed})'
