"""Pieces of Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; ``""`` without any row."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    head = "| " + " | ".join(header) + " |"
    return "\n".join([head, "|" + "---|" * len(header), *lines])


def section(title: str, *parts: str) -> str:
    """Return a section of the parts that are not empty; ``""`` if none is left."""
    kept = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *kept]) if kept else ""


def page(title: str, *parts: str) -> str:
    """Return a page."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def code(value: object) -> str:
    """Return ``value`` as code."""
    return f"`{value}`"


def number(value: float) -> str:
    """Return a number as short as it can be read."""
    return f"{value:g}"


def plain(text: str) -> str:
    """Return a docstring's text with its markup for code turned into Markdown's."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring, on one line."""
    paragraph = (inspect.getdoc(thing) or "").split("\n\n", 1)[0]
    return plain(" ".join(paragraph.split()))


def description(thing: Any) -> str:
    """Return a docstring without its ``Args:`` and the like."""
    text = inspect.getdoc(thing) or ""
    return plain(re.split(r"\n(?:Args|Returns|Raises|Attributes):\n", text)[0].strip())


def settings(params: Mapping[str, Any]) -> str:
    """Return parameters as ``name = value``."""
    return ", ".join(f"`{name} = {_value(value)}`" for name, value in params.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return str(getattr(value, "name", getattr(value, "__name__", value)))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
