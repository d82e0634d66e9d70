"""Tables of the experiment file's sections, and pages of modules and algorithms."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stridelab.algorithms.ppo import PPO
from stridelab.experiment import Experiment
from stridelab.experiment.sections import AnyAlgorithm, AnyModel
from stridelab.modules.kinds import module_class
from stridelab.reference.markdown import code, description, number, page, section, table

_BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}


def experiment_page() -> str:
    """Return the page of the experiment file: every section with every key."""
    parts = []
    for name, field in Experiment.model_fields.items():
        sections = list(_sections(field.annotation))
        if not sections:
            continue
        for one in sections:
            kind = f" (`kind: {kind_of(one)}`)" if len(sections) > 1 else ""
            parts.append(section(f"`{name}`{kind}", description(one), settings_table(one)))
    plain = {
        name: field
        for name, field in Experiment.model_fields.items()
        if not list(_sections(field.annotation))
    }
    return page(
        "The experiment file",
        "Every key with its default. A key that is not listed is refused before anything starts, "
        "with the line it stands on and the nearest known name. `null` stands for none.",
        section("Top level", _fields_table(plain)),
        *parts,
    )


def module_pages() -> dict[str, str]:
    """Return the pages of the modules by kind."""
    return {
        kind_of(one): page(
            f"Module `{kind_of(one)}`",
            description(module_class(kind_of(one))),
            section(
                "Settings", f"```yaml\nmodel: {{kind: {kind_of(one)}}}\n```", settings_table(one)
            ),
        )
        for one in _sections(AnyModel)
    }


def algorithm_pages() -> dict[str, str]:
    """Return the pages of the algorithms by kind."""
    [ppo] = _sections(AnyAlgorithm)
    return {
        "ppo": page(
            "Algorithm `ppo`",
            description(PPO),
            section("Settings", "```yaml\nalgorithm: {kind: ppo}\n```", settings_table(ppo)),
        )
    }


def settings_table(model: type[BaseModel]) -> str:
    """Return the table of a section's keys; those of sections inside it follow, dotted."""
    return _fields_table(dict(_flat(model, "")))


def kind_of(model: type[BaseModel]) -> str:
    """Return the value of ``kind`` that chooses a section."""
    [kind] = typing.get_args(model.model_fields["kind"].annotation)
    return str(kind)


def _flat(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inside = list(_sections(field.annotation))
        if inside:
            yield from _flat(inside[0], f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _fields_table(fields: dict[str, FieldInfo]) -> str:
    rows = [
        (code(name), _default(field), _type(field), field.description or "")
        for name, field in fields.items()
    ]
    return table(["key", "default", "type", "meaning"], rows)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the sections that an annotation stands for, each once."""
    found: list[type[BaseModel]] = []
    pending = [annotation]
    while pending:
        one = pending.pop(0)
        if isinstance(one, type) and issubclass(one, BaseModel):
            if one not in found:
                found.append(one)
        elif typing.get_origin(one) in (typing.Annotated, list):
            pending.append(typing.get_args(one)[0])
        elif typing.get_origin(one) in (typing.Union, types.UnionType):
            pending += typing.get_args(one)
    yield from found


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if value is None:
        return code("null")
    if isinstance(value, bool):
        return code(str(value).lower())
    if value == "":
        return code('""')
    return code(number(value) if isinstance(value, float) else value)


def _type(field: FieldInfo) -> str:
    bounds = [
        pattern.format(f"{getattr(one, key):g}")
        for one in field.metadata
        for key, pattern in _BOUNDS.items()
        if getattr(one, key, None) is not None
    ]
    return ", ".join([_name(field.annotation), *bounds])


def _name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin is Literal:
        return " or ".join(code(value) for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(argument) for argument in arguments)
    if origin is list:
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return "mapping"
    if annotation is type(None):
        return code("null")
    words = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))
