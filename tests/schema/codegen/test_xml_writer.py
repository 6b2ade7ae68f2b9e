"""A document declares the prefixes that are in it; only those are looked for that could be."""

from __future__ import annotations

import pytest

import schema

HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:a" targetNamespace="urn:a"'


def load(rest: str, *, qualified: bool = True) -> schema.Schema:
    form = ' elementFormDefault="qualified"' if qualified else ""
    return schema.load(f"{HEAD}{form}>{rest}</xs:schema>".encode())


def marks(s: schema.Schema) -> list[str]:
    return [mark for mark, _ in s.unit("xml_writer")["DECLARATIONS"]]


PLAIN = '<xs:element name="r"><xs:complexType><xs:sequence>{}</xs:sequence></xs:complexType></xs:element>'


@pytest.mark.parametrize(
    ("xsd", "looked_for", "data"),
    [
        (PLAIN.format('<xs:element name="a" type="xs:string"/>'), [], b'<r xmlns="urn:a"><a>xsi:nil ns1:</a></r>'),
        (
            PLAIN.format('<xs:element name="a" type="xs:string" nillable="true"/>'),
            ["xsi:"],
            b'<r xmlns="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><a xsi:nil="true"/></r>',
        ),
        (
            (
                '<xs:attribute name="b" type="xs:string"/><xs:element name="r"><xs:complexType><xs:attribute ref="b"/>'
                "</xs:complexType></xs:element>"
            ),
            ["ns1:"],
            b'<r xmlns="urn:a" xmlns:ns1="urn:a" ns1:b="1"/>',
        ),
        (
            (
                '<xs:complexType name="T"/><xs:complexType name="U"><xs:complexContent><xs:extension base="T">'
                '<xs:attribute name="b" type="xs:string"/></xs:extension></xs:complexContent></xs:complexType>'
                '<xs:element name="r" type="T"/>'
            ),
            ["xsi:"],
            b'<r xmlns="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="U" b="1"/>',
        ),
        (
            '<xs:element name="r" type="xs:anyType"/>',
            [],
            b'<r xmlns="urn:a" xmlns:q="urn:q" q:x="1"><q:b/></r>',
        ),
    ],
)
def test_what_is_declared(xsd: str, looked_for: list[str], data: bytes) -> None:
    s = load(xsd)
    assert marks(s) == looked_for
    value = s.from_xml(data)
    text = s.to_xml(value)
    assert s.from_xml(text) == value
    for mark in ("xsi:", "ns1:"):
        declared = f"xmlns:{mark[:-1]}=".encode() in text
        assert declared == (mark in looked_for)


def test_not_where_it_is_not_in_use() -> None:
    s = load(PLAIN.format('<xs:element name="a" type="xs:string" nillable="true"/>'))
    assert b"xsi" not in s.to_xml(s.from_xml(b'<r xmlns="urn:a"><a>b</a></r>'))
