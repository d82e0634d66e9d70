"""Kinds of modules and algorithms that installed packages add.

The value of the entry point is the class itself: an ``ActorCritic`` (group ``stridelab.modules``)
or a ``PPO`` (group ``stridelab.algorithms``) of one's own. Its attribute ``section`` is the class
that checks its part of the experiment file: a ``ModelSection`` or ``AlgorithmSection`` with
``kind: Literal["<name>"] = "<name>"`` and further fields.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stridelab.experiment.messages import first_problem
from stridelab_envs.errors import UserError
from stridelab_envs.plugins import Registry

SectionT = TypeVar("SectionT", bound=BaseModel)

MODULES: Registry[Any] = Registry("module", "stridelab.modules")
ALGORITHMS: Registry[Any] = Registry("algorithm", "stridelab.algorithms")


def is_installed(registry: Registry[Any], value: object) -> bool:
    """Say whether a section, or what is to become one, names an installed kind."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return isinstance(kind, str) and kind in registry.names()


def installed_section(registry: Registry[Any], base: type[SectionT], value: Any) -> SectionT:
    """Check ``value`` by the section of the installed class it names.

    Raises:
        ConfigError: If a setting is refused; the path is relative to the section.
        UserError: If the class cannot be loaded, or has no such section.
    """
    if isinstance(value, base):
        return value
    name = value["kind"]
    section = getattr(registry.find(name, "kind"), "section", None)
    if not (isinstance(section, type) and issubclass(section, base)):
        raise UserError(
            f'{registry.kind} "{name}" of {registry.origin(name)} needs a section that is a '
            f"{base.__name__}"
        )
    try:
        return section.model_validate(value)
    except ValidationError as error:
        raise first_problem(error) from None
