"""Dotted keys: set one value in an experiment's nested mapping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stridelab.experiment.messages import join_path, one_line, show
from stridelab.experiment.yaml_text import YamlError, parse_yaml
from stridelab_envs.errors import ConfigError, UserError

OVERRIDE = "override "
"""How the place of a value begins that was set by an override."""

_MAX_INT = 2**63 - 1  # what databases, Arrow and torch hold
_MAX_DEPTH = 50


def plain(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Return a deep copy of ``value`` as plain data: dict, list, str, int, float, bool, None.

    NumPy scalars, which search algorithms suggest, become Python numbers.

    Args:
        value: Nested mappings, lists and scalars.
        path: Where ``value`` stands, for messages.

    Raises:
        ConfigError: A number is NaN, infinite or beyond 64 bits, text is not valid Unicode, a key
            is not text, or a value is no plain data.
    """
    if len(path) > _MAX_DEPTH:
        raise ConfigError(join_path(path[:3]), f"is nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(join_path(path), f"the key {show(key)} is no text")
        return {plain(key, path): plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, (*path, index)) for index, item in enumerate(value)]
    return _scalar(value, path)


def _scalar(value: Any, path: tuple[str | int, ...]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise ConfigError(join_path(path), f"is no valid Unicode text: {show(value)}")
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(join_path(path), f"must be a finite number, got {value}")
        return float(value)
    if isinstance(value, int):
        if abs(value) > _MAX_INT:
            raise ConfigError(join_path(path), "must be a number within 64 bits")
        return int(value)
    raise ConfigError(join_path(path), f"cannot hold a {type(value).__name__}")


def set_value(tree: dict[str, Any], key: str, value: Any) -> list[str]:
    """Set the dotted ``key`` of ``tree`` in place, making the mappings on the way.

    The value at ``key`` is replaced. One case is kinder: a task table may be a preset's name or a
    mapping with a ``preset`` entry, so a name set on a mapping changes its preset and keeps the
    terms beside it, and a term set below a name keeps the preset.

    Args:
        tree: The experiment as nested mappings.
        key: Dotted key, for example ``task.rewards.upright``.
        value: What to set; plain data.

    Returns:
        The paths of everything that was made or replaced, outermost first.

    Raises:
        ConfigError: The key is malformed or runs through something that is no mapping.
    """
    parts = _split(key)
    touched: list[str] = []
    here = tree
    for depth, part in enumerate(parts[:-1], start=1):
        below = here.get(part)
        if below is None:
            touched.append(join_path(parts[:depth]))
            below = {}
        elif isinstance(below, str) and depth == 2 and parts[0] == "task":
            below = {"preset": below}
        elif not isinstance(below, dict):
            message = f"is {show(below)}, so {show(parts[depth])} cannot be set below it"
            raise ConfigError(join_path(parts[:depth]), message)
        here[part] = below
        here = below
    last, path = parts[-1], join_path(parts)
    if parts[0] == "task" and len(parts) == 2 and isinstance(value, str) and last in here:
        table = here[last]
        if isinstance(table, dict):
            table["preset"] = value
            return [*touched, path, f"{path}.preset"]
    here[last] = value
    return [*touched, path]


def override_mark(text: str) -> str:
    """Return how messages name the override ``text``."""
    return f'{OVERRIDE}"{one_line(text)}"'


def apply_override(tree: dict[str, Any], places: dict[str, str], text: str) -> None:
    """Apply the override ``key=value`` to ``tree`` in place; the value is read as YAML.

    As in Hydra, ``~key`` takes a key out, so that its default holds again. Hydra's ``+`` before a
    new key is taken, but not needed.

    Args:
        tree: The experiment as nested mappings.
        places: Where each dotted path was written; brought up to date.
        text: For example ``task.rewards.upright=3.0`` or ``seeds=[0, 1]``.

    Raises:
        UserError: The override is malformed; the line quotes it.
    """
    place = override_mark(text)
    if text.startswith("~"):
        _take_out(tree, places, text, place)
        return
    key, equals, raw = text.lstrip("+").partition("=")
    key = key.strip()
    if not (key and equals):
        raise UserError(f"{place}: expected key=value, for example train.env_steps=1e6")
    try:
        value, _ = parse_yaml(raw)
        touched = set_value(tree, key, plain(value, tuple(_split(key))))
    except YamlError as error:
        raise UserError(f"{place}: {error.message}") from None
    except ConfigError as error:
        where = "" if error.path in ("", key) else f"{error.path}: "
        raise UserError(f"{place}: {where}{one_line(error.message)}") from None
    _forget_below(places, touched[-1])
    places.update(dict.fromkeys(touched, place))


def _take_out(tree: dict[str, Any], places: dict[str, str], text: str, place: str) -> None:
    key = text[1:].strip()
    here: Any = tree
    try:
        *above, last = _split(key)
        for part in above:
            here = here[part]
        del here[last]
    except ConfigError as error:
        raise UserError(f"{place}: {one_line(error.message)}") from None
    except (KeyError, TypeError):
        raise UserError(f"{place}: the file sets no such key") from None
    _forget_below(places, key)
    places.pop(key, None)


def _forget_below(places: dict[str, str], key: str) -> None:
    for path in [path for path in places if path.startswith((f"{key}.", f"{key}["))]:
        del places[path]


def _split(key: str) -> list[str]:
    parts = key.split(".")
    if not all(parts):
        raise ConfigError("", f"{show(key)} is no dotted key such as algorithm.gamma")
    if parts[:2] == ["sweep", "parameters"] and len(parts) > 3:
        return [*parts[:2], ".".join(parts[2:])]  # the names of swept keys hold dots themselves
    return parts
