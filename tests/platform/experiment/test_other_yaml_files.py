"""Files of another kind than experiments: checked by a schema, mistakes on one line."""

import pytest
from pydantic import Field

from stridelab.experiment.loader import load_mapping
from stridelab.experiment.sections import Integer, Section
from stridelab_envs.errors import ConfigError, UserError


class Inner(Section):
    size: Integer = Field(ge=1)
    note: str = ""


class Outer(Section):
    things: dict[str, Inner] = Field(min_length=1)
    other: Inner
    extra: str = "none"


WHOLE = "things:\n  a: {size: 3}\nother: {size: 2.0e1, note: x}\n"


def test_what_is_read(write):
    content = load_mapping(write(WHOLE), Outer)
    assert content.things["a"].size == 3
    assert (content.other.size, content.other.note) == (20, "x")
    assert content.extra == "none"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ": is empty; it needs at least things, other"),
        ("- 1\n", ":1: must be a mapping (key: value), got a list"),
        ("things: [\n", ":2: "),
        ("other: {size: 1}\n", ":1: things: is required"),
        (WHOLE + "extar: y\n", ':4: extar: unknown key "extar"; did you mean "extra"?'),
        (
            "things:\n  a: {size: 3}\nother:\n  size: 0\n",
            ":4: other.size: must be at least 1, got 0",
        ),
        (
            "things:\n  a:\n    siez: 3\nother: {size: 1}\n",
            ':3: things.a.siez: unknown key "siez"; did you mean "size"?',
        ),
        ("things: {a: {size: x}}\nother: {size: 1}\n", ":1: things.a.size: must be an integer"),
        (WHOLE + "other: {size: 1}\n", ':4: the key "other" stands here twice (first on line 3)'),
    ],
)
def test_a_mistake_is_one_line_with_its_place(write, text, expected):
    with pytest.raises(UserError) as caught:
        load_mapping(write(text), Outer)
    message = str(caught.value)
    assert message.startswith(f"walk.yaml{expected}")
    assert message.isprintable()


def test_an_error_of_the_schema_itself(write):
    class Picky(Section):
        name: str

        def model_post_init(self, context):
            raise ConfigError("name", "is not liked")

    with pytest.raises(UserError, match=r"^walk\.yaml:1: name: is not liked$"):
        load_mapping(write("name: a\n"), Picky)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.yaml: there is no such file$"):
        load_mapping(tmp_path / "nothing.yaml", Outer)
