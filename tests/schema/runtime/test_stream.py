"""Streaming: every element, validated, in constant memory, and no DOCTYPE reaches libxml2."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import schema

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:t" xmlns="urn:t"
  elementFormDefault="qualified"><xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="head" type="xs:string"/><xs:element name="a" type="A" maxOccurs="unbounded"/></xs:sequence>
  </xs:complexType></xs:element>
  <xs:complexType name="A"><xs:sequence><xs:element name="b" type="xs:int"/>
    <xs:element name="a" type="A" minOccurs="0"/></xs:sequence></xs:complexType></xs:schema>"""


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD)


def document(items: str) -> bytes:
    return f'<?xml version="1.0"?><!-- x --><r xmlns="urn:t"><head>h</head>{items}</r>'.encode()


def test_outermost_elements_one_by_one(s: schema.Schema, tmp_path: Path) -> None:
    data = document("<a><b>1</b><a><b>2</b></a></a><a><b>3</b></a>")
    items = list(s.iter_xml(io.BytesIO(data), "a"))
    assert [(item.b, item.a.b if item.a else None) for item in items] == [(1, 2), (3, None)]
    assert items == s.from_xml(data).a
    (tmp_path / "d.xml").write_bytes(data)
    assert list(s.iter_xml(tmp_path / "d.xml", "{urn:t}a")) == items


def test_a_fault_stops_where_it_is(s: schema.Schema) -> None:
    items = s.iter_xml(
        io.BytesIO(document("<a><b>1</b></a>" * 5000 + "<a>\n<b>x</b></a>" + "<a><b>2</b></a>" * 5000)), "a"
    )
    seen = []
    with pytest.raises(schema.ValidationError, match="'x' is not a valid value") as caught:
        seen.extend(item.b for item in items)
    problem = caught.value.errors[0]
    assert (problem.value, problem.line, problem.path) == ("x", 2, "//a[5001]/b")


@pytest.mark.parametrize(
    ("items", "line", "path"),
    [
        ("\n<b/>", 2, "/r/b"),
        ("<a><b>1</b></a>\n<a>\n<b>1</b><a><b>1</b>\n<a><b>x</b></a></a></a>", 4, "//a[2]/a/a/b"),
        ("<a><b>1</b></a>" * 9999 + "\n\n<c/>", 3, "/r/c"),
        ("\n<a><b>x</b></a>", 2, "//a[1]/b"),
    ],
)
def test_where_a_fault_is(s: schema.Schema, items: str, line: int, path: str) -> None:
    with pytest.raises(schema.ValidationError) as caught:
        list(s.iter_xml(io.BytesIO(document(items)), "a"))
    assert (caught.value.errors[0].line, caught.value.errors[0].path) == (line, path)


def test_a_fault_before_the_first_element(s: schema.Schema) -> None:
    with pytest.raises(schema.ValidationError) as caught:
        list(s.iter_xml(io.BytesIO(b'<r xmlns="urn:t">\n<oops/></r>'), "a"))
    assert (caught.value.errors[0].line, caught.value.errors[0].path) == (2, "/r/oops")


def test_what_comes_out_is_valid(s: schema.Schema) -> None:
    good = "<a><b>1</b></a>" * 5000  # several of the pieces that are read at once
    items = s.iter_xml(io.BytesIO(document(good + "<a><b>1</b><c/></a>" + good)), "a")
    seen = 0
    with pytest.raises(schema.ValidationError):  # noqa: PT012 - how many came before is the question
        for item in items:
            assert item.b == 1
            seen += 1
    assert 1000 < seen <= 5000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_doctype_is_refused(s: schema.Schema, encoding: str) -> None:
    entity = '<!DOCTYPE r [<!ENTITY e "1">]><r xmlns="urn:t"><head>&e;</head></r>'
    text = f'<?xml version="1.0" encoding="{encoding}"?>{entity}'
    with pytest.raises(schema.ValidationError) as caught:
        list(s.iter_xml(io.BytesIO(text.encode(encoding)), "a"))
    assert caught.value.errors[0].code == "doctype-refused"


@pytest.mark.parametrize("data", [b"", b"<!--", b"<r", b"text", b"<!-- -->" * 200_000])
def test_what_is_no_document(s: schema.Schema, data: bytes) -> None:
    with pytest.raises(schema.ValidationError) as caught:
        list(s.iter_xml(io.BytesIO(data), "a"))
    assert caught.value.errors[0].code == "xml-not-well-formed"


def test_memory_does_not_grow(s: schema.Schema) -> None:
    class Endless(io.RawIOBase):
        """A document that is nowhere in memory; its tree would take a hundred megabytes."""

        def __init__(self) -> None:
            self.pieces = self.make()

        @staticmethod
        def make() -> Iterator[bytes]:
            yield b'<r xmlns="urn:t"><head/>'
            for _ in range(100):
                yield b"<a><b>1</b></a>" * 3000
            yield b"</r>"

        def read(self, size: int = -1) -> bytes:
            return next(self.pieces, b"")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    count, early = 0, 0
    for _ in s.iter_xml(Endless(), "a"):  # type: ignore[arg-type]
        count += 1
        if count == 30_000:
            early = resident()
    assert count == 300_000
    assert resident() - early < 8 << 20


def test_an_unknown_name(s: schema.Schema) -> None:
    with pytest.raises(schema.ValidationError, match="is no element"):
        list(s.iter_xml(io.BytesIO(b""), "nonsense"))
