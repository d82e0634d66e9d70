"""Read an experiment from a file; mistakes are reported with file, line and key."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stridelab.experiment.messages import first_problem, one_line, parent_path, show
from stridelab.experiment.overrides import OVERRIDE, apply_override, override_mark
from stridelab.experiment.schema import Experiment, validate
from stridelab.experiment.yaml_text import YamlError, parse_yaml
from stridelab_envs.errors import ConfigError, UserError

SectionT = TypeVar("SectionT", bound=BaseModel)
Built = TypeVar("Built")

MAX_BYTES = 1_000_000
"""Largest file that is read; these files are a few kilobytes."""


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read, override and check an experiment.

    Args:
        path: YAML file.
        overrides: Changes such as ``task.rewards.upright=3.0``, applied in order.

    Returns:
        The experiment.

    Raises:
        UserError: Anything is wrong; one line ``FILE:LINE: KEY: ...`` or
            ``override "KEY=VALUE": ...``.
    """
    needs = "an experiment needs at least name, task and train"
    return load_file(path, validate, needs=needs, overrides=overrides)


def load_file(
    path: str | Path,
    build: Callable[[Mapping[str, Any]], Built],
    *,
    needs: str,
    overrides: Sequence[str] = (),
) -> Built:
    """Read a YAML mapping, override it, and build something checked from it.

    Args:
        path: YAML file.
        build: Builds the result; what is wrong it says by a ``ConfigError``.
        needs: What an empty file lacks, for messages.
        overrides: Changes ``dotted.key=value``, applied in order.

    Raises:
        UserError: Anything is wrong; one line ``FILE:LINE: KEY: ...`` or
            ``override "KEY=VALUE": ...``.
    """
    tree, places = _parse(path, needs)
    changed, marks = _overridden(tree, places, overrides)
    try:
        return build(changed)
    except ConfigError as error:
        if not marks.get(error.path, "").startswith(OVERRIDE):
            for index, text in enumerate(overrides):
                if _is_valid(tree, [*overrides[:index], *overrides[index + 1 :]], build):
                    raise UserError(f"{override_mark(text)}: {error}") from None
        raise _located(error, marks) from None


def parse_experiment(
    mapping: Mapping[str, Any], lines: Mapping[str, str] | None = None
) -> Experiment:
    """Check an experiment given as nested mappings.

    Args:
        mapping: The form of the file; ``Experiment.to_dict()`` gives it back.
        lines: Where each dotted path was written (``walk.yaml:12``), to begin messages with.

    Returns:
        The experiment.

    Raises:
        UserError: Anything is wrong, on one line; without ``lines`` a ``ConfigError``.
    """
    try:
        return validate(mapping)
    except ConfigError as error:
        if lines is None:
            raise
        raise _located(error, lines) from None


def load_mapping(path: Path, schema: type[SectionT]) -> SectionT:
    """Read and check another kind of YAML file.

    Raises:
        UserError: Anything is wrong; one line ``FILE:LINE: KEY: ...``.
    """

    def build(tree: Mapping[str, Any]) -> SectionT:
        try:
            return schema.model_validate(tree)
        except ValidationError as error:
            raise first_problem(error) from None

    required = [name for name, field in schema.model_fields.items() if field.is_required()]
    return load_file(path, build, needs=f"it needs at least {', '.join(required)}")


def _parse(path: str | Path, needs: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the content of a YAML file and where (``FILE:LINE``) each key stands."""
    file = one_line(str(path))
    try:
        tree, lines = parse_yaml(_read(Path(path), file))
    except YamlError as error:
        raise UserError(f"{file}:{error.line}: {error}") from None
    if tree is None:
        raise UserError(f"{file}: is empty; {needs}")
    if not isinstance(tree, dict):
        raise UserError(f"{file}:{lines['']}: must be a mapping (key: value), got {show(tree)}")
    return tree, {key: f"{file}:{line}" for key, line in lines.items()}


def _overridden(
    tree: dict[str, Any], places: dict[str, str], overrides: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    changed, marks = copy.deepcopy(tree), dict(places)
    for text in overrides:
        apply_override(changed, marks, text)
    return changed, marks


def _is_valid(
    tree: dict[str, Any], overrides: Sequence[str], build: Callable[[Mapping[str, Any]], Built]
) -> bool:
    try:
        build(_overridden(tree, {}, overrides)[0])
    except UserError:
        return False
    return True


def _located(error: ConfigError, places: Mapping[str, str]) -> UserError:
    """Return ``error`` with where its path, or the nearest one above it, was written."""
    path = error.path
    while path and path not in places:
        path = parent_path(path)
    place = places.get(path, "")
    if place.startswith(OVERRIDE) and path == error.path:
        return UserError(f"{place}: {error.message}")
    return UserError(f"{place}: {error}" if place else str(error))


def _read(path: Path, file: str) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise UserError(f"{file}: is a folder; expected a YAML file") from None
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{file}: cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{file}: is larger than {MAX_BYTES} bytes; files of this kind are smaller")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}:{line}: is not UTF-8 text") from None
