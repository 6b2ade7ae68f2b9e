"""Values of types with a pattern, or a fixed value, that does not let their usual form through."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

import schema
from schema.values import Duration, XsdDateTime, XsdTime

STAMP = "2026-01-31T12:00:00.000Z"
KINDS: dict[str, tuple[str, str, str, Any, Any]] = {
    # type: base, pattern, a text, its value, another value with a usual form that fits
    "number": ("xs:integer", r"\d{3}", "007", 7, 700),
    "short": ("xs:int", r"\d{3}", "042", 42, 420),
    "price": ("xs:decimal", r"\d*\.\d{2}", ".50", Decimal("0.5"), Decimal("1.50")),
    "ratio": ("xs:double", r"\d(\.\d+)?E\d", "1E2", 100.0, None),
    "hash": ("xs:hexBinary", r"[0-9a-f]*", "0aff", b"\x0a\xff", b"\x12"),
    "blob": ("xs:base64Binary", r".*=", "YQ = =", b"a", b"bb"),
    "span": ("xs:duration", r"P\d+M", "P12M", Duration(12), Duration(11)),
    "stamp": ("xs:dateTime", r".*\.\d{3}Z", STAMP, XsdDateTime.parse(STAMP), None),
    "clock": ("xs:time", r".*\.0|.*5", "12:00:00.0", XsdTime.parse("12:00:00.0"), dt.time(12, 0, 5)),
    "flag": ("xs:boolean", r"[01]", "1", True, False),
}
XSD = (
    '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>'
    + "".join(
        f'<xs:element name="{name}" minOccurs="0" type="T{name}"/>' for name in KINDS
    )
    + """<xs:element name="fixed" type="xs:decimal" fixed="1.0" minOccurs="0"/></xs:sequence>
    <xs:attribute name="on" type="xs:boolean" fixed="1"/><xs:attribute name="a" type="Tnumber"/>
    <xs:attribute name="d" type="Tnumber" default="001"/><xs:attribute name="q" type="Tall"/>
    </xs:complexType></xs:element>
    <xs:simpleType name="Tall"><xs:restriction base="Tlist"><xs:pattern value="[0-9 ]+"/></xs:restriction>
    </xs:simpleType>    <xs:simpleType name="Tlist"><xs:list itemType="xs:int"/></xs:simpleType>"""
    + "".join(
        f'<xs:simpleType name="T{name}"><xs:restriction base="{base}"><xs:pattern value="{pattern}"/>'
        "</xs:restriction></xs:simpleType>"
        for name, (base, pattern, *_) in KINDS.items()
    )
    + "</xs:schema>"
)  # fmt: skip
S = schema.load(XSD.encode())


@pytest.mark.parametrize("name", KINDS)
def test_a_spelling_comes_back(name: str) -> None:
    _, _, text, expected, other = KINDS[name]
    value = S.from_xml(f"<r><{name}>{text}</{name}></r>".encode())
    found = getattr(value, name)
    assert found == expected
    assert isinstance(found, type(expected))
    assert f">{text}<" in S.to_xml(value).decode()
    assert f">{text}<" in S.to_xml(copy.deepcopy(value)).decode()
    for mapping in ("natural", "lua_schema", "badgerfish"):
        data = S.to_json(value, mapping=mapping)  # type: ignore[arg-type]
        assert S.from_json(data, mapping=mapping) == value  # type: ignore[arg-type]
        assert f">{text}<" in S.json_to_xml(data, mapping=mapping).decode()  # type: ignore[arg-type]
    if other is not None:
        setattr(value, name, other)
        assert getattr(S.from_xml(S.to_xml(value)), name) == other
        assert getattr(S.from_json(S.to_json(value)), name) == other


def test_the_pattern_holds_for_json_and_objects() -> None:
    assert S.from_json('{"number":"007"}').number == 7
    for bad in ('{"number":7}', '{"number":"7"}', '{"hash":"0AFF"}', '{"@a":1}'):
        with pytest.raises(schema.ValidationError) as caught:
            S.from_json(bad)
        assert caught.value.errors[0].code == "cvc-pattern-valid"
    value = S.from_xml(b"<r><number>007</number></r>")
    value.number += 1  # spelt as usual again
    with pytest.raises(schema.ValidationError, match="'8' is not accepted by the pattern"):
        S.to_xml(value)


def test_attributes_defaults_and_lists() -> None:
    value = S.from_xml(b'<r a="002" q="01  2"/>')
    assert (value.a, value.d, value.q) == (2, 1, [1, 2])
    written = S.to_xml(value)
    assert b'a="002"' in written
    assert b'd="001"' in written
    assert b'q="01 2"' in written
    value.q.append(3)
    assert b'q="1 2 3"' in S.to_xml(value)
    assert json.loads(S.to_json(value))["@d"] == "001"


def test_fixed_values_in_their_own_form() -> None:
    value = S.from_xml(b'<r on="1"><fixed>1.0</fixed></r>')
    assert (value.on, value.fixed) == (True, Decimal(1))
    assert S.from_xml(S.to_xml(value)) == S.from_json(S.to_json(value)) == value
    value.fixed, value.on = 1, True
    assert b">1.0<" in S.to_xml(value)
    value.on = False
    with pytest.raises(schema.ValidationError, match="fixed value constraint"):
        S.to_xml(value)


def test_a_spelling_is_only_text() -> None:
    value = S.from_xml(b"<r><number>007</number></r>")
    value.number.text = "1</number><number>2"
    with pytest.raises(schema.ValidationError):
        S.to_xml(value)
