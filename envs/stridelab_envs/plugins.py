"""Parts by name: those of this package, and those that installed packages add.

An installed package adds a part by an entry point. The group says what kind of part it is, the
name is the part's own, and the value is loaded only when somebody asks for the part, so a package
that cannot be imported spoils nothing but its own parts.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from stridelab_envs.errors import ConfigError, UserError, unknown_name

PartT = TypeVar("PartT")


class Registry(dict[str, PartT]):
    """Parts of one kind by name: the items are those registered, and those loaded already.

    Args:
        kind: What messages call a part, for example ``robot``.
        group: Group of the entry points, for example ``stridelab.robots``.
    """

    def __init__(self, kind: str, group: str) -> None:
        super().__init__()
        self.kind = kind
        self.group = group
        self._entries: dict[str, EntryPoint] | None = None

    def register(self, name: str, part: PartT) -> None:
        """Make ``part`` known under ``name``.

        Raises:
            ValueError: If the name is taken.
        """
        if name in self or (self._entries is not None and name in self._entries):
            raise ValueError(f'a {self.kind} called "{name}" is registered already')
        self[name] = part

    def names(self) -> list[str]:
        """Return the names of all parts, sorted; no package is imported for it."""
        return sorted({*self, *self._installed()})

    def find(self, name: str, path: str = "") -> PartT:
        """Return the part called ``name``.

        Args:
            name: Name of the part.
            path: Dotted path of the key that named it, for the message.

        Raises:
            ConfigError: If there is no such part; the message names the nearest and all known ones.
            UserError: If its package cannot be imported.
        """
        if name not in self:
            entries = self._installed()
            if name not in entries:
                raise ConfigError(path, unknown_name(self.kind, name, self.names()))
            self[name] = self._load(entries[name])
        return self[name]

    def origin(self, name: str) -> str:
        """Return where a part comes from, for messages: ``package acme (acme.robot:SPEC)``."""
        entry = self._installed().get(name)
        if entry is None:
            return "this program"
        package = f"package {entry.dist.name} " if entry.dist is not None else ""
        return f"{package}({entry.value})"

    def _installed(self) -> dict[str, EntryPoint]:
        if self._entries is None:
            found: dict[str, EntryPoint] = {}
            for entry in entry_points(group=self.group):
                if entry.name in self or found.get(entry.name, entry).value != entry.value:
                    raise UserError(
                        f'a {self.kind} called "{entry.name}" is registered already; '
                        f"entry point {self.group}: {entry.value} needs another name"
                    )
                found[entry.name] = entry  # an editable install may list an entry twice
            self._entries = found
        return self._entries

    def _load(self, entry: EntryPoint) -> PartT:
        try:
            part: PartT = entry.load()
        except Exception as error:  # whatever the code of another package raises
            reason = " ".join(str(error).split())
            raise UserError(
                f'{self.kind} "{entry.name}" of {self.origin(entry.name)} cannot be loaded: '
                f"{type(error).__name__}: {reason}{_hidden_by(entry)}"
            ) from error
        return part


def _hidden_by(entry: EntryPoint) -> str:
    """Say which folder was taken for the package of an entry point, where one was.

    A folder without ``__init__.py`` on the path, such as the one that a project lies in, comes
    before what is installed as editable; in trials the working directory is on the path.
    """
    module = sys.modules.get(entry.module.partition(".")[0])
    if module is None or getattr(module, "__file__", None) is not None:
        return ""
    folders = ", ".join(getattr(module, "__path__", []))
    return f"; the folder {folders} is taken for the package: give it another name"
