import math

import pytest

from stridelab.experiment.yaml_text import YamlError, dump_yaml, parse_yaml


def value(text: str):
    return parse_yaml(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("5e7", 5e7),
        ("1.", 1.0),
        ("-.5", -0.5),
        ("+1_000", 1000),
        ("010", 10),
        ("50_000_000", 50_000_000),
        ("-.inf", -math.inf),
        ("on", "on"),
        ("no", "no"),
        ("True", True),
        ("~", None),
        ("1:30", "1:30"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("e5", "e5"),
        ("1e", "1e"),
        ("", None),
    ],
)
def test_scalars_follow_yaml_1_2(text, expected):
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


def test_not_a_number_is_read_as_one():
    assert math.isnan(value(".nan"))


def test_lines_of_keys_and_entries():
    _, lines = parse_yaml("a:\n  b: 1\n  c:\n  - x\n  - {d: 2,\n     e: 3}\n")
    expected = {"": 1, "a": 1, "a.b": 2, "a.c": 3, "a.c[0]": 4, "a.c[1]": 5}
    assert lines == {**expected, "a.c[1].d": 5, "a.c[1].e": 6}


class TestAliases:
    def test_alias_gives_separate_copies(self):
        found = value("a: &x {b: [1]}\nc: *x\n")
        assert found == {"a": {"b": [1]}, "c": {"b": [1]}}
        assert found["a"]["b"] is not found["c"]["b"]

    def test_merge_fills_what_is_not_written(self):
        text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: [*x, *y]}\n"
        assert value(text)["z"] == {"a": 1, "b": 1, "c": 3}

    def test_quoted_merge_sign_is_a_plain_key(self):
        assert value("{'<<': 1}") == {"<<": 1}

    def test_shared_alias_is_not_taken_for_a_loop(self):
        assert value("a: &x [1]\nb: [*x, [*x]]\n")["b"] == [[1], [[1]]]

    def test_chain_of_aliases_is_limited_in_depth(self):
        chain = "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 60))
        with pytest.raises(YamlError, match="nested more than 40 levels"):
            parse_yaml("a0: &a0 [1]\n" + chain)


@pytest.mark.parametrize(
    "text",
    [
        *("1e-3", "5e7", "08", "010", "on", "no", "null", "~", "", "1:30", "0x10", "2024-01-01"),
        *(".nan", "<<", "=", "a: b", "# c", "- d", " x ", "true", "two\nlines", "é", "\u2028"),
        *("'", '"', "\t", "\x07"),
    ],
)
def test_text_survives_writing_and_reading(text):
    data = {"value": text, "list": [text], text: 1}
    assert value(dump_yaml(data)) == data


def test_repeated_values_are_written_out():
    shared = [1, 2]
    assert "&" not in dump_yaml({"a": shared, "b": shared})
