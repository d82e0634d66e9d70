"""YAML as this project reads and writes it: plain data only, with the line of every key.

The dialect is YAML 1.2's core: ``1e-3`` is a number, ``on`` and ``no`` are text, there are no
dates and no octal or sexagesimal numbers. Tags that stand for objects are refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from stridelab.experiment.messages import join_path, one_line, show
from stridelab_envs.errors import ConfigError

MAX_DEPTH = 40
"""Levels of nesting; an experiment needs about six."""
MAX_VALUES = 20_000
"""Values after aliases are expanded; stops files that grow a thousandfold when read."""

_TAG = "tag:yaml.org,2002:"
_DIGITS = "0123456789"
_IMPLICIT = (
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", re.compile(r"^[-+]?[0-9][0-9_]*$"), list("-+" + _DIGITS)),
    (
        "float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+." + _DIGITS),
    ),
)


class YamlError(ConfigError):
    """Text that is no usable YAML; ``line`` is where, counted from 1."""

    def __init__(self, line: int, path: str, message: str) -> None:
        self.line = line
        super().__init__(path, one_line(message))


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 scalars and a limit on nesting."""

    yaml_implicit_resolvers = {}
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth > MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1
            raise YamlError(line, "", f"is nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either YAML 1.1 or this dialect would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _pattern, _first in _IMPLICIT:
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _first)
    _Dumper.add_implicit_resolver(_TAG + _name, _pattern, _first)


def parse_yaml(text: str) -> tuple[Any, dict[str, int]]:
    """Read one YAML document.

    Args:
        text: The document.

    Returns:
        The value (None for an empty document) and the line of each key and list entry by its
        dotted path; ``""`` is the line of the whole.

    Raises:
        YamlError: The text is no YAML, has duplicate keys, keys that are not text, object tags,
            aliases to themselves, or grows beyond the limits of this module.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = f"U+{error.character:04X}"
        raise YamlError(line, "", f"holds the unprintable character {code}") from None
    try:
        node = loader.get_single_node()
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, "", _words(error)) from None
    except (OverflowError, ValueError):  # PyYAML hands the number of an escape to chr() unchecked
        raise YamlError(loader.line + 1, "", "holds an escape that names no character") from None
    if node is None:
        return None, {"": 1}
    builder = _Builder()
    builder.lines[""] = node.start_mark.line + 1
    return builder.build(node, ()), builder.lines


def dump_yaml(value: Any) -> str:
    """Return plain data as YAML that ``parse_yaml`` reads back to the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "cannot be read"
    hint = " (indent with spaces)" if "'\\t'" in problem else ""
    return f"not valid YAML: {problem}{hint}"


class _Builder:
    """Builds plain values from nodes and notes where each key stands."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self._open: list[yaml.Node] = []
        self._count = 0

    def build(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self._enter(node, path)
        value = self._value(node, path)
        self._open.pop()
        return value

    def _enter(self, node: yaml.Node, path: tuple[str | int, ...]) -> None:
        self._count += 1
        message = ""
        if self._count > MAX_VALUES:
            message = f"holds more than {MAX_VALUES} values once aliases are read"
        elif any(node is one for one in self._open):
            message = "holds an alias to itself"
        elif len(self._open) > MAX_DEPTH:
            message = f"is nested more than {MAX_DEPTH} levels deep"
        if message:  # the node may stand elsewhere, where its anchor is: the line is the key's
            where = join_path(path)
            raise YamlError(self.lines.get(where, node.start_mark.line + 1), where, message)
        self._open.append(node)

    def _value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            for index, item in enumerate(node.value):
                self._note((*path, index), item)
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, path)
        raise _error(node, path, f"the YAML tag {show(_short(node.tag))} is not allowed")

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, (key_node, value_node) in self._pairs(node, path).items():
            self._note((*path, key), key_node)
            result[key] = self.build(value_node, (*path, key))
        return result

    def _pairs(
        self, node: yaml.MappingNode, path: tuple[str | int, ...]
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return key and value nodes by key; a mapping's own keys win over merged ones."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: list[yaml.MappingNode] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and _is_merge(key_node):
                merged += _merge_sources(value_node, path)
                continue
            key = _key(key_node, path)
            if key in own:
                first = own[key][0].start_mark.line + 1
                message = f"the key {show(key)} stands here twice (first on line {first})"
                raise _error(key_node, path, message)
            own[key] = (key_node, value_node)
        for source in merged:
            self._enter(source, path)
            for key, pair in self._pairs(source, path).items():
                own.setdefault(key, pair)
            self._open.pop()
        return own

    def _note(self, path: tuple[str | int, ...], node: yaml.Node) -> None:
        self.lines[join_path(path)] = node.start_mark.line + 1


def _error(node: yaml.Node, path: tuple[str | int, ...], message: str) -> YamlError:
    return YamlError(node.start_mark.line + 1, join_path(path), message)


def _is_merge(node: yaml.ScalarNode) -> bool:
    return node.value == "<<" and node.style is None


def _merge_sources(node: yaml.Node, path: tuple[str | int, ...]) -> list[yaml.MappingNode]:
    sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if all(isinstance(source, yaml.MappingNode) for source in sources):
        return list(sources)
    raise _error(node, path, 'the merge key "<<" needs a mapping or a list of mappings')


def _key(node: yaml.Node, path: tuple[str | int, ...]) -> str:
    if isinstance(node, yaml.ScalarNode):
        key = _scalar(node, path)
        if isinstance(key, str):
            return key
        raise _error(node, path, f"the key {show(key)} is no text (put it in quotes)")
    raise _error(node, path, "a key must be text, not a mapping or list")


def _scalar(node: yaml.ScalarNode, path: tuple[str | int, ...]) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text.replace("_", ""))
        if kind == "float":
            return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()).replace("_", ""))
    except ValueError:  # not a number, or one of thousands of digits
        raise _error(node, path, f"{show(text)} is no {kind} that can be read") from None
    raise _error(node, path, f"the YAML tag {show(_short(node.tag))} is not allowed")


def _short(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag
