"""Values of unions come back as the Python type of the member that matches: the first in the schema's order."""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import schema
from schema.codegen.package import compile_schema
from schema.values import QName, XsdDate

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:u" targetNamespace="urn:u"
  elementFormDefault="qualified"><xs:element name="r"><xs:complexType><xs:sequence>
    <xs:element name="v" type="Either" minOccurs="0" maxOccurs="99"/>
    <xs:element name="w" type="Small" minOccurs="0" maxOccurs="99"/>
    <xs:element name="l" type="Several" minOccurs="0"/>
    <xs:element name="q" type="Named" minOccurs="0" maxOccurs="9"/>
    <xs:element name="n" minOccurs="0"><xs:simpleType><xs:union memberTypes="xs:byte xs:integer"/></xs:simpleType>
    </xs:element>
    <xs:element name="s" minOccurs="0"><xs:complexType><xs:simpleContent><xs:extension base="Either">
      <xs:attribute name="u" type="Small"/></xs:extension></xs:simpleContent></xs:complexType></xs:element>
  </xs:sequence><xs:attribute name="a" type="Either" default="true"/>
    <xs:attribute name="b" type="Several" default="1 x"/></xs:complexType></xs:element>
  <xs:simpleType name="Either"><xs:union memberTypes="Digits xs:boolean xs:decimal xs:date Code xs:hexBinary">
    <xs:simpleType><xs:restriction base="xs:string"><xs:maxLength value="9"/></xs:restriction></xs:simpleType>
  </xs:union></xs:simpleType>
  <xs:simpleType name="Digits"><xs:restriction base="xs:int"><xs:minInclusive value="10"/>
    <xs:maxExclusive value="1000"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="Code"><xs:restriction base="C0"><xs:pattern value=".*&lt;\\d"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="C0"><xs:restriction base="xs:token"><xs:pattern value="A.*"/><xs:pattern value="B.*"/>
    </xs:restriction></xs:simpleType>
  <xs:simpleType name="Small"><xs:union memberTypes="Inner xs:string"/></xs:simpleType>
  <xs:simpleType name="Inner"><xs:restriction base="Numbers"><xs:enumeration value="1"/><xs:enumeration value="2.5"/>
    </xs:restriction></xs:simpleType>
  <xs:simpleType name="Numbers"><xs:union memberTypes="xs:int xs:decimal"/></xs:simpleType>
  <xs:simpleType name="Several"><xs:list itemType="Both"/></xs:simpleType>
  <xs:simpleType name="Both"><xs:union memberTypes="xs:int xs:NMTOKEN"/></xs:simpleType>
  <xs:simpleType name="Named"><xs:union memberTypes="xs:QName xs:int"/></xs:simpleType>
</xs:schema>"""


@pytest.fixture(scope="module", params=["loaded", "compiled"])
def s(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> schema.Schema:
    if request.param == "loaded":
        return schema.load(XSD)
    folder: Path = tmp_path_factory.mktemp("unions")
    (folder / "unions.xsd").write_bytes(XSD)
    compile_schema(folder / "unions.xsd", folder / "union_models")
    sys.path.insert(0, str(folder))
    try:
        import union_models.unions  # type: ignore[import-not-found]

        made: schema.Schema = union_models.unions.SCHEMA
        return made
    finally:
        sys.path.remove(str(folder))


def read(s: schema.Schema, content: str, attributes: str = "") -> Any:
    """The object, after it went there and back in all forms."""
    value = s.from_xml(f'<r xmlns="urn:u" xmlns:p="urn:p" {attributes}>{content}</r>'.encode())
    assert s.from_xml(s.to_xml(value)) == value
    for mapping in ("natural", "lua_schema", "badgerfish"):
        again = s.from_json(s.to_json(value, mapping=mapping), mapping=mapping)  # type: ignore[arg-type]
        assert repr(again) == repr(value), mapping
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        (" 999 ", 999),
        ("9", Decimal(9)),
        ("1000", Decimal(1000)),
        ("1", True),
        ("false", False),
        ("1.50", Decimal("1.50")),
        ("0.0000001", Decimal("0.0000001")),
        ("2026-01-31", dt.date(2026, 1, 31)),
        ("2026-01-31Z", XsdDate(2026, 1, 31, 0)),
        ("A&lt;5", "A<5"),
        (" A   &lt;5 ", "A <5"),
        ("AB", b"\xab"),
        ("A", "A"),
        (" x ", " x "),
        ("", b""),
    ],
)
def test_the_member_that_matches(s: schema.Schema, text: str, value: Any) -> None:
    found = read(s, f"<v>{text}</v>").v[0]
    assert found == value
    assert isinstance(found, type(value))
    assert isinstance(found, bool) == isinstance(value, bool)


def test_unions_in_unions_lists_and_attributes(s: schema.Schema) -> None:
    value = read(s, "<w>1</w><w>2.5</w><w>3</w><l>5 x 007</l><n>5</n><s u='1'>12</s>", 'a="11" b="y 2"')
    assert value.w == [1, Decimal("2.5"), "3"]
    assert value.l == [5, "x", 7]
    assert (value.n, value.s.value, value.s.u, value.a, value.b) == (5, 12, 1, 11, ["y", 2])
    value = read(s, "")
    assert (value.a, value.b) == (True, [1, "x"])


def test_names_in_unions(s: schema.Schema) -> None:
    assert read(s, "<q>p:x</q><q>5</q><q>y</q>").q == [QName("urn:p", "x"), 5, QName("urn:u", "y")]


def test_json_looks_like_the_member(s: schema.Schema) -> None:
    value = s.from_xml(b'<r xmlns="urn:u"><v>10</v><v>1</v><v>1.5</v><v>2026-01-31</v><v>x</v><l>1 x</l></r>')
    found = json.loads(s.to_json(value))
    assert (found["v"], found["l"]) == ([10, True, "1.5", "2026-01-31", "x"], [1, "x"])


@pytest.mark.parametrize("data", ['{"v":[{}]}', '{"v":[null]}', '{"v":["far too long for it"]}', '{"n":1.5}'])
def test_what_no_member_takes(s: schema.Schema, data: str) -> None:
    with pytest.raises(schema.ValidationError):
        s.from_json(data)


def test_what_no_union_holds(s: schema.Schema) -> None:
    value = s.from_json("{}")
    value.v = [5, object()]
    with pytest.raises(schema.ValidationError, match=r"Varied.*got `object`") as caught:
        s.to_xml(value)
    assert caught.value.errors[0].path == "v[1]"
