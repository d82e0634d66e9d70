"""Turn what is wrong with an experiment into one plain line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stridelab_envs.errors import ConfigError, UserError

CHOICE = "kind="
"""How the tag begins that pydantic puts into the path of a section of which there are several."""
_MAX_SHOWN = 60


def one_line(text: str) -> str:
    r"""Return ``text`` with every unprintable character written as an escape such as ``\n``."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(value: object) -> str:
    """Return ``value`` as it would stand in a YAML file, shortened, on one line."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool | str):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = str(value)
    return one_line(text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}...")


def join_path(parts: Iterable[str | int]) -> str:
    """Return the dotted path of ``parts``; list places stand in brackets: ``seeds[1]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{one_line(part)}" if path else one_line(part)
    return path


def parent_path(path: str) -> str:
    """Return the path one step above ``path`` (``""`` above a top-level key)."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known name most like ``name``, or None when none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def first_problem(error: ValidationError) -> ConfigError:
    """Return the first thing pydantic refused, in plain words."""
    problem = error.errors(include_url=False)[0]
    path = join_path(part for part in problem["loc"] if not str(part).startswith(CHOICE))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        found = cause.under(path) if path else cause
        return ConfigError(one_line(found.path), one_line(found.message))
    if isinstance(cause, UserError):
        return ConfigError(path, one_line(str(cause)))
    return ConfigError(path, one_line(_explain(problem)))


def _explain(problem: ErrorDetails) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "is required"
    got = show(problem["input"])
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, got {got}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {context[name]}, got {got}"
    if kind in _OTHERS:
        return _OTHERS[kind](problem["input"], context)
    return f"{problem['msg']}, got {got}"


def _not_text(value: Any, context: dict[str, Any]) -> str:
    hint = "" if value is None or isinstance(value, dict | list) else " (put it in quotes)"
    return f"must be text, got {show(value)}{hint}"


def not_listed(value: Any, choices: Sequence[str]) -> str:
    """Say that ``value`` is none of the ``choices``, with the nearest one."""
    near = nearest(value, choices) if isinstance(value, str) else None
    hint = f'; did you mean "{near}"?' if near else ""
    start = "must be" if len(choices) == 1 else "must be one of"
    return f"{start} {', '.join(choices)}, got {show(value)}{hint}"


def _not_expected(value: Any, context: dict[str, Any]) -> str:
    choices = context["expected"].replace("' or '", "', '").replace("'", "").split(", ")
    return not_listed(value, choices)


_TYPES = {
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a section (key: value pairs)",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}
_OTHERS: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "string_type": _not_text,
    "literal_error": _not_expected,
    "string_too_short": lambda value, context: "must not be empty",
    "string_too_long": lambda value, context: (
        f"must have at most {context['max_length']} characters, got {len(value)}"
    ),
    "too_short": lambda value, context: "must hold at least one entry",
}
