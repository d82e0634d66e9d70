"""The reference of the layout in the docs says what the code says."""

from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from stridelab.sim2sim.layout import Layout, Section, validate
from stridelab.sim2sim.signals import SIGNALS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "deploy.md"


def default(field):
    if isinstance(field.default, Section) or field.default is PydanticUndefined:
        return "required" if field.is_required() else ""
    text = yaml.safe_dump(field.default, default_flow_style=True, width=1000)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def sections(kind, path=""):
    """Yield path and model of a section and all below it, from the outside in."""
    yield path, kind
    for name, field in kind.model_fields.items():
        below = f"{path}{name}."
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for one in candidates:
            if isinstance(one, type) and issubclass(one, Section):
                yield from sections(one, f"{below}NAME." if name == "terms" else below)


def reference():
    """The table: key, default, meaning."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for path, kind in sections(Layout):
        lines += [
            f"| `{path}{name}` | {default(field)} | {field.description} |"
            for name, field in kind.model_fields.items()
            if field.description
        ]
    return lines


def signals():
    lines = ["| signal | meaning |", "|---|---|"]
    return lines + [f"| `{name}` | {f.__doc__.splitlines()[0]} |" for name, f in SIGNALS.items()]


@pytest.mark.parametrize("table", [reference, signals])
def test_tables(table):
    expected = "\n".join(table())
    assert f"\n\n{expected}\n\n" in PAGE.read_text(), f"docs/deploy.md should hold:\n{expected}"


def test_the_example_is_a_layout():
    text = PAGE.read_text()
    example = text.split("```yaml\n")[1].split("```")[0]
    assert validate(yaml.safe_load(example)).history.length == 66
