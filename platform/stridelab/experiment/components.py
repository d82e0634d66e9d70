"""Schedulers and search algorithms by name, with their arguments checked before anything starts."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from stridelab.experiment.messages import show
from stridelab_envs.errors import ConfigError, unknown_name

SCHEDULERS = {
    "fifo": None,
    "asha": "ray.tune.schedulers:ASHAScheduler",
    "median_stopping": "ray.tune.schedulers:MedianStoppingRule",
    "hyperband": "ray.tune.schedulers:HyperBandScheduler",
    "pbt": "ray.tune.schedulers:PopulationBasedTraining",
    "pb2": "ray.tune.schedulers.pb2:PB2",
}
"""Name to the Ray class that takes the arguments."""
SEARCHES = {"random": None, "optuna": "ray.tune.search.optuna:OptunaSearch"}
"""Name to the Ray class that takes the arguments."""

_PARAMETERS = "it is sweep.parameters"
_OBJECT = "it is a Python object"
_OURS = {
    "metric": "it is sweep.metric",
    "mode": "it is sweep.mode",
    "seed": "it is sweep.search_seed",
    "space": _PARAMETERS,
    "hyperparam_mutations": _PARAMETERS,
    "hyperparam_bounds": _PARAMETERS,
    "time_attr": "the platform counts in training iterations",
    "require_attrs": "results without the metric are passed over",
    "custom_explore_fn": _OBJECT,
    "sampler": _OBJECT,
    "storage": _OBJECT,
}
# What the platform adds itself must not spoil the check: ASHA's limit on iterations, what
# populations vary.
_STAND_INS = {"max_t": 10**9, "hyperparam_bounds": {"any": [0.0, 1.0]}, "custom_explore_fn": dict}


def component(kind: str, value: Any, known: dict[str, str | None]) -> dict[str, dict[str, Any]]:
    """Return ``{name: arguments}`` of a scheduler or search algorithm, checked against Ray.

    Args:
        kind: What it is, for messages.
        value: A name, or ``{name: {argument: value}}``.
        known: Name to ``module:class``; None for what takes no arguments.

    Raises:
        ConfigError: The name or an argument is unknown, or a value is refused.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError("", f"must be one of {', '.join(sorted(known))}, got {show(value)}")
    [(name, args)] = value.items()
    if name not in known:
        raise ConfigError("", unknown_name(kind, name, known))
    args = {} if args is None else args
    if not isinstance(args, dict):
        raise ConfigError(name, f"must be a mapping of arguments, got {show(args)}")
    target = known[name]
    if target is not None:
        _check_arguments(name, target, args)
    elif args:
        raise ConfigError(name, f"takes no arguments, got {', '.join(map(str, args))}")
    return {name: args}


def _check_arguments(name: str, target: str, args: dict[str, Any]) -> None:
    """Refuse arguments that the Ray class does not take: Ray itself drops or fails on them."""
    if not args:
        return
    module, _, attribute = target.partition(":")
    ray_class = getattr(importlib.import_module(module), attribute)
    parameters = inspect.signature(ray_class).parameters
    taken = [key for key in parameters if key not in _OURS]
    for key, value in args.items():
        if key in _OURS:
            raise ConfigError(f"{name}.{key}", f"cannot be set here: {_OURS[key]}")
        if key not in taken:
            raise ConfigError(f"{name}.{key}", unknown_name("argument", key, taken))
        _check_type(f"{name}.{key}", value, parameters[key].annotation)
    _check_ranges(name, args)
    usable = {key: value for key, value in _STAND_INS.items() if key in parameters}
    try:
        ray_class(**{**usable, **args})
    except (ArithmeticError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).rstrip("!.") or "a value is out of range"
        raise ConfigError(name, f"{attribute} refuses these arguments: {reason}") from None


def _check_type(path: str, value: Any, annotation: Any) -> None:
    """Refuse a value of another plain type than the argument's own."""
    words = {int: "an integer", float: "a number", bool: "true or false"}
    if annotation not in words:
        return
    fits = isinstance(value, int | float if annotation is float else annotation)
    if not fits or (isinstance(value, bool) and annotation is not bool):
        raise ConfigError(path, f"must be {words[annotation]}, got {show(value)}")


def _check_ranges(name: str, args: dict[str, Any]) -> None:
    """Refuse values that Ray's schedulers take and trip over in the middle of a study."""
    if args.get("reduction_factor", 2.0) <= 1.0:
        message = f"must be above 1, got {show(args['reduction_factor'])}"
        raise ConfigError(f"{name}.reduction_factor", message)
    factors = args.get("perturbation_factors", [1.0])
    if not isinstance(factors, list) or not factors:
        raise ConfigError(f"{name}.perturbation_factors", "must be a list of factors above 0")
    for factor in factors:
        if isinstance(factor, bool) or not isinstance(factor, int | float) or factor <= 0:
            message = f"must hold factors above 0, got {show(factor)}"
            raise ConfigError(f"{name}.perturbation_factors", message)
    probability = args.get("resample_probability", 0.0)
    if not 0.0 <= probability <= 1.0:
        message = f"must be between 0 and 1, got {show(probability)}"
        raise ConfigError(f"{name}.resample_probability", message)
