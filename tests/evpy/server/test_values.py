"""Each kind: what it takes, what it refuses and how it says so; parsing is idempotent and reads its own output."""

from __future__ import annotations

import os
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.server.values import Choice, FilePath, Kind, Octal, Seconds, Size, Switch, Text, Texts, Whole, quoted

WHOLE = Whole(0, 100)
SECONDS = Seconds(0.001, 3600)
SIZE = Size(1024)
SWITCH = Switch()
CHOICE = Choice("text", "json")
TEXT = Text("TEXT", "a text", optional=False)
PATH = FilePath("FILE", "a file")
OCTAL = Octal()
TEXTS = Texts(PATH, most=3)


def no_x(text: str) -> None:
    if "x" in text:
        raise ValueError("no x, please")


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        (WHOLE, "0", 0),
        (WHOLE, " 100 ", 100),
        (WHOLE, 7, 7),
        (SECONDS, "30", 30.0),
        (SECONDS, "0.5", 0.5),
        (SECONDS, ".5", 0.5),
        (SECONDS, "5e-2", 0.05),
        (SECONDS, 3, 3.0),
        (SIZE, "65536", 65536),
        (SIZE, "16M", 16 << 20),
        (SIZE, "16 MiB", 16 << 20),
        (SIZE, "16mb", 16 << 20),
        (SIZE, "1GiB", 1 << 30),
        (SIZE, "2t", 2 << 40),
        (SIZE, "2048B", 2048),
        (SIZE, 2048, 2048),
        (SIZE, 0, 0),
        (SWITCH, "on", True),
        (SWITCH, "No", False),
        (SWITCH, "1", True),
        (SWITCH, False, False),
        (CHOICE, "JSON", "json"),
        (TEXT, "", ""),
        (PATH, "", None),
        (PATH, None, None),
        (PATH, "~/x", os.path.expanduser("~/x")),
        (PATH, "a~/x", "a~/x"),
        (OCTAL, "660", "660"),
        (OCTAL, "0660", "660"),
        (OCTAL, "0o660", "660"),
        (OCTAL, "", None),
        (TEXTS, "", ()),
        (TEXTS, "a", ("a",)),
        (TEXTS, "a, b", ("a", "b")),
        (TEXTS, ["a,b"], ("a,b",)),
        (TEXTS, ("a", "b", "c"), ("a", "b", "c")),
    ],
    ids=repr,
)
def test_taken(kind: Kind, raw: object, value: object) -> None:
    assert kind.parse(raw) == value
    assert type(kind.parse(raw)) is type(value)
    assert kind.parse(kind.parse(raw)) == value
    assert kind.parse(tomllib.loads(f"x = {kind.toml(value)}")["x"]) == value


@pytest.mark.parametrize(
    ("kind", "raw", "error"),
    [
        (WHOLE, "many", "'many' is not a whole number from 0 to 100"),
        (WHOLE, "", "'' is not a whole number from 0 to 100"),
        (WHOLE, "101", "101 is not a whole number from 0 to 100"),
        (WHOLE, -1, "-1 is not a whole number from 0 to 100"),
        (WHOLE, "1_0", "'1_0' is not a whole number from 0 to 100"),
        (WHOLE, "٣", "'٣' is not a whole number from 0 to 100"),
        (WHOLE, True, "True is not a whole number from 0 to 100"),
        (WHOLE, 1.0, "1.0 is not a whole number from 0 to 100"),
        (WHOLE, "9" * 5000, "is not a whole number"),
        (SECONDS, "0", "0.0 is not a number of seconds from 0.001 to 3600"),
        (SECONDS, "30s", "'30s' is not a number of seconds"),
        (SECONDS, "nan", "'nan' is not a number of seconds"),
        (SECONDS, float("nan"), "nan is not a number of seconds"),
        (SECONDS, "1e999", "inf is not a number of seconds"),
        (SECONDS, True, "True is not a number of seconds"),
        (SIZE, "16X", "'16X' is not a size in bytes such as 65536, 512K, 16M or 1GiB, at least 1024"),
        (SIZE, "1.5M", "is not a size"),
        (SIZE, "-1", "is not a size"),
        (SIZE, -1, "is not a size"),
        (SIZE, "5", "at least 1024"),
        (SIZE, 1.0, "is not a size"),
        (SIZE, True, "is not a size"),
        (SIZE, "9999999999T", "is not a size"),
        (SWITCH, "maybe", "'maybe' is not true or false"),
        (SWITCH, 1, "1 is not true or false"),
        (CHOICE, "xml", "'xml' is not one of text, json"),
        (CHOICE, 3, "3 is not one of text, json"),
        (TEXT, 3, "3 is not a text"),
        (TEXT, None, "None is not a text"),
        (TEXT, "a\nb", "'a\\nb' contains a control character; expected a text"),
        (Text("T", "a text", no_x, optional=False), "axb", "no x, please"),
        (PATH, "a\0b", "control character"),
        (OCTAL, "888", 'is not octal permissions such as "660" (in quotes)'),
        (OCTAL, 660, "is not octal permissions"),
        (OCTAL, "4755", "is not octal permissions"),
        (TEXTS, 5, "5 is not a file, or several of them"),
        (TEXTS, ["a", 5], "5 is not a file"),
        (TEXTS, ["a", ""], "'' is not a file"),
        (TEXTS, "a,,b", "'' is not a file"),
        (TEXTS, ["a", "b", "a"], "'a' is named twice"),
        (TEXTS, "a,b,c,d", "4 values: expected 0 to 3"),
        (Texts(PATH, least=1), "", "0 values: expected 1 to 1000"),
    ],
    ids=repr,
)
def test_refused(kind: Kind, raw: object, error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)) as caught:
        kind.parse(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", [WHOLE, SECONDS, SIZE, SWITCH, CHOICE, TEXT, PATH, OCTAL, TEXTS], ids=lambda k: type(k).__name__
)
@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()), st.binary()))
def test_any_input_is_taken_or_refused(kind: Kind, raw: object) -> None:
    try:
        value = kind.parse(raw)
    except ValueError:
        return
    assert kind.parse(value) == value


@given(st.integers(0, 1 << 62))
def test_sizes_are_shown_exactly(size: int) -> None:
    kind = Size()
    assert kind.parse(tomllib.loads(f"x = {kind.toml(size)}")["x"]) == size


def test_sizes_are_shown_short() -> None:
    assert Size().toml(16 << 20) == '"16MiB"'
    assert Size().toml(3 << 30) == '"3GiB"'
    assert Size().toml((1 << 20) + 1) == "1048577"
    assert Size().toml(0) == "0"


def test_long_values_are_shortened_in_errors() -> None:
    assert len(quoted("x" * 1000)) == 60
