"""What is no XML, or not all of it, is refused by every call, with a message that says where."""

from __future__ import annotations

import io
from typing import Any

import pytest

import schema

S = schema.load(
    b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType mixed="true">
  <xs:sequence><xs:element name="a" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
    <xs:element name="b" type="xs:string"/><xs:any minOccurs="0" processContents="skip"/></xs:sequence>
    <xs:attribute name="c" type="xs:string"/><xs:anyAttribute processContents="skip"/>
  </xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"""
)
A = "<a c='1'><b>x</b></a>"
GOOD = f"<r>{A}{A}</r>".encode()


def streamed(data: bytes) -> list[Any]:
    return list(S.iter_xml(io.BytesIO(data), "a"))


CALLS = [S.validate_xml, S.from_xml, S.xml_to_json, streamed]


@pytest.mark.parametrize("call", CALLS)
def test_a_document_that_was_cut_off(call: Any) -> None:
    call(GOOD)
    for end in range(len(GOOD)):
        with pytest.raises(schema.ValidationError):
            call(GOOD[:end])


def test_a_long_stream_that_was_cut_off() -> None:
    """At every byte around the ends of the pieces in which it is read."""
    data = f"<r>{A * 8000}</r>".encode()
    for at in (len(data), 1 << 15, 1 << 16, 1 << 17):
        for end in range(at - 25, min(at + 25, len(data))):
            with pytest.raises(schema.ValidationError):
                streamed(data[:end])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD + b"x", "Extra content"),
        (GOOD + GOOD, "Extra content"),
        (GOOD + b"<!DOCTYPE r>", "Extra content"),
        (GOOD.replace(b">x<", b">&e;<", 1), "'e' not defined"),
        (GOOD.replace(b"'1'", b"'&e;'", 1), "'e' not defined"),
        (GOOD.replace(b">x<", b">x\0<", 1), "[Cc]har"),
        (GOOD.replace(b">x<", b">&#0;<", 1), "[Cc]har"),
        (GOOD.replace(b">x<", b">\xff<", 1), "encoding"),
        (GOOD.replace(b"c='1'", b"c='1' c='2'", 1), "redefined"),
        (GOOD.replace(b"c='1'", b"q:c='1'", 1), "prefix q"),
        (b"<?xml version='1.0' encoding='nope'?>" + GOOD, "(?i)encoding"),
        (b"<?xml version='1.0' encoding='utf-7'?>" + GOOD.replace(b">x<", b">+x<"), "(?i)encoding|input"),
    ],
)
def test_other_faults(call: Any, data: bytes, says: str) -> None:
    with pytest.raises(schema.ValidationError, match=says) as caught:
        call(data)
    problem = caught.value.errors[0]
    assert problem.code == "xml-not-well-formed"
    assert problem.line == 1
    assert "line" not in problem.message
    assert "\n" not in problem.message
    assert not isinstance(caught.value, schema.LimitExceeded)


@pytest.mark.parametrize("call", CALLS[:-1])
@pytest.mark.parametrize("data", [GOOD.replace(b"<b>", b"<b>" + b"<c>" * 300), b"<" + b"r" * 60_000 + b"/>"])
def test_what_is_beyond_the_limits_of_libxml2(call: Any, data: bytes) -> None:
    with pytest.raises(schema.LimitExceeded) as caught:
        call(data)
    assert caught.value.errors[0].code == "limit"
    assert "XML_PARSE" not in str(caught.value)


def test_characters_that_cannot_be_said() -> None:
    value = S.from_xml(b"<r><a><b>x</b><z y='1'>t</z></a></r>")
    (item,) = value.content
    for bad in ("\0", "\x1f", "\ufffe", "\ud800", "ok\uffff"):
        for path, give in (
            ("$[0].a.b", lambda bad: setattr(item.a, "b", bad)),
            ("$[0].a.@c", lambda bad: setattr(item.a, "c", bad)),
            ("$[1]", value.content.append),
        ):
            give(bad)
            with pytest.raises(schema.ValidationError) as caught:
                S.to_xml(value)
            (problem,) = caught.value.errors
            assert (problem.code, problem.path) == ("xml-not-well-formed", path)
            assert f"U+{ord(bad[-1]):04X}" in problem.message
            del value.content[1:]
            item.a.b, item.a.c = "x", None
    S.to_xml(value)


def test_json_says_where_they_are() -> None:
    data = S.xml_to_json(GOOD).replace(b'"x"', b'"\\u0000"', 1)
    with pytest.raises(schema.ValidationError) as caught:
        S.from_json(data)
    assert caught.value.errors[0].path.startswith("$[0].a")
    assert caught.value.errors[0].line is None


def test_an_object_has_no_lines() -> None:
    value = S.from_xml(GOOD)
    value.content[1].a.any_attributes["c:d"] = "1"
    with pytest.raises(schema.ValidationError) as caught:
        S.to_xml(value)
    assert caught.value.errors[0].line is None


def test_other_kinds_of_bytes() -> None:
    value = S.from_xml(GOOD)
    text = S.to_json(value)
    for kind in (bytearray, memoryview):
        assert S.from_xml(kind(GOOD)) == value  # type: ignore[arg-type]
        assert S.from_json(kind(text)) == value  # type: ignore[arg-type]
        S.validate_xml(kind(GOOD))  # type: ignore[arg-type]
    assert S.from_json(text.decode()) == value


@pytest.mark.parametrize("call", [S.from_xml, S.validate_xml, S.xml_to_json])
def test_what_is_no_document(call: Any) -> None:
    with pytest.raises(TypeError, match="bytes, not str; encode"):
        call(GOOD.decode())
    with pytest.raises(TypeError, match="bytes, not NoneType"):
        call(None)


def test_a_text_file_is_no_stream() -> None:
    with pytest.raises(TypeError, match="binary mode"):
        list(S.iter_xml(io.StringIO(GOOD.decode()), "a"))  # type: ignore[arg-type]
