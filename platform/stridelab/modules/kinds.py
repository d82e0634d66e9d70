"""The modules by the name that experiments and policy bundles give them."""

from __future__ import annotations

from stridelab.experiment import installed
from stridelab.modules.actor_critic import ActorCritic
from stridelab.modules.estimator import Estimator
from stridelab.modules.hierarchical import Hierarchical
from stridelab_envs.errors import ConfigError, unknown_name

MODULES: dict[str, type[ActorCritic]] = {
    "actor_critic": ActorCritic,
    "estimator": Estimator,
    "hierarchical": Hierarchical,
}
"""``model.kind`` to class."""


def module_class(kind: str) -> type[ActorCritic]:
    """Return the class of a module, built in or of an installed package.

    Raises:
        ConfigError: If there is no such module.
        UserError: If its package cannot be imported.
    """
    if kind in MODULES:
        return MODULES[kind]
    if kind not in installed.MODULES.names():
        known = [*MODULES, *installed.MODULES.names()]
        raise ConfigError("model.kind", unknown_name("module", kind, known))
    found: type[ActorCritic] = installed.MODULES.find(kind)
    return found


def module_kind(module: ActorCritic) -> str:
    """Return the kind of a module, by which :func:`module_class` finds its class again."""
    for kind, built_in in MODULES.items():
        if type(module) is built_in:
            return kind
    kind = type(module).section.model_fields["kind"].default
    return str(kind)
