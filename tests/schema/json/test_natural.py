"""The natural mapping: what it looks like, and that JSON is valid exactly when its XML is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schema

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t"
  elementFormDefault="qualified">
  <xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="date" type="xs:date"/><xs:element name="when" type="xs:dateTime" minOccurs="0"/>
    <xs:element name="items"><xs:complexType><xs:sequence>
      <xs:element name="item" minOccurs="0" maxOccurs="5"><xs:complexType><xs:sequence>
        <xs:element name="qty"><xs:simpleType><xs:restriction base="xs:positiveInteger">
          <xs:maxExclusive value="100"/></xs:restriction></xs:simpleType></xs:element>
        <xs:element name="price" type="xs:decimal"/>
        <xs:element name="note" type="Note" minOccurs="0" nillable="true"/>
      </xs:sequence><xs:attribute name="sku" type="Sku" use="required"/></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>
    <xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="big" type="xs:integer"/>
      <xs:element name="ratio" type="xs:double"/><xs:element name="raw" type="xs:hexBinary"/>
      <xs:element name="span" type="xs:duration"/></xs:choice>
  </xs:sequence><xs:attribute name="open" type="xs:boolean" default="true"/></xs:complexType></xs:element>
  <xs:complexType name="Note"><xs:simpleContent><xs:extension base="xs:string"><xs:attribute name="lang"/>
    </xs:extension></xs:simpleContent></xs:complexType>
  <xs:simpleType name="Sku"><xs:restriction base="xs:string"><xs:pattern value="\\d{3}-[A-Z]{2}"/></xs:restriction>
  </xs:simpleType></xs:schema>"""
XML = b"""<order xmlns="urn:t" open="false"><date>2026-01-31Z</date><items><item sku="123-AB">
  <qty>3</qty><price>1.50</price>
  <note lang="en">n</note></item></items><big>90071992547409931</big><big>5</big><ratio>INF</ratio><raw>0aFF</raw>
  <span>P1DT2H</span></order>"""
GOOD: dict[str, Any] = {
    "@open": False,
    "date": "2026-01-31Z",
    "items": {"item": [{"@sku": "123-AB", "qty": 3, "price": "1.50", "note": {"@lang": "en", "$": "n"}}]},
    "choice": [{"big": "90071992547409931"}, {"big": 5}, {"ratio": "INF"}, {"raw": "0AFF"}, {"span": "P1DT2H"}],
}


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD)


def changed(*path: Any, value: Any) -> bytes:
    """GOOD with one value replaced; None takes it away."""
    copy = json.loads(json.dumps(GOOD))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(copy).encode()


def test_what_it_looks_like(s: schema.Schema) -> None:
    assert json.loads(s.xml_to_json(XML)) == GOOD
    value = s.from_xml(XML)
    assert json.loads(s.to_json(value)) == GOOD
    assert s.from_json(json.dumps(GOOD)) == value
    assert s.from_xml(s.json_to_xml(json.dumps(GOOD))) == value


ITEM = ("items", "item", 0)


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        (changed(*ITEM, "qty", value=100), "cvc-maxExclusive-valid", "items.item[0].qty"),
        (changed(*ITEM, "qty", value="3"), "wrong-type", "items.item[0].qty"),
        (changed(*ITEM, "qty", value=1.5), "wrong-type", "items.item[0].qty"),
        (changed(*ITEM, "qty", value=None), "missing-member", "items.item[0]"),
        (changed(*ITEM, "price", value="1,5"), "wrong-type", "items.item[0].price"),
        (changed(*ITEM, "price", value="NaN"), "wrong-type", "items.item[0].price"),
        (changed(*ITEM, "@sku", value="123-ab"), "cvc-pattern-valid", "items.item[0].@sku"),
        (changed(*ITEM, "nonsense", value=1), "unknown-member", "items.item[0]"),
        (changed("items", "item", value=GOOD["items"]["item"] * 6), "cvc-complex-type.2.4", "items.item[5]"),
        (changed("date", value="2026-02-30"), "wrong-type", "date"),
        (changed("date", value="20260201"), "wrong-type", "date"),
        (changed("date", value=5), "wrong-type", "date"),
        (changed("@open", value="yes"), "wrong-type", "@open"),
        (changed("choice", 0, "ratio", value=1.0), "wrong-type", None),
        (b'{"date"', "json-not-well-formed", ""),
        (b"\xff", "json-not-well-formed", ""),
        (b'{"date":' + b"[" * 100_000, None, None),
        (b"[]", "wrong-type", ""),
    ],
)
def test_faults(s: schema.Schema, data: bytes, code: str | None, path: str | None) -> None:
    for call in (s.validate_json, s.from_json, s.json_to_xml):
        with pytest.raises(schema.ValidationError) as caught:
            call(data)
        problem = caught.value.errors[0]
        assert code is None or problem.code == code, problem
        assert path is None or problem.path == path, problem


def test_an_object_that_is_not_valid_gives_no_json(s: schema.Schema) -> None:
    value = s.from_xml(XML)
    value.items.item[0].qty = 100
    with pytest.raises(schema.ValidationError):
        s.to_json(value)


def test_too_large(s: schema.Schema) -> None:
    small = schema.load(XSD)
    small.max_bytes = 100
    with pytest.raises(schema.LimitExceeded):
        small.from_json(json.dumps(GOOD))


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")) | st.just(
    "]]>\t\n\r&<\"'"
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "@sku": st.from_regex(r"\d{3}-[A-Z]{2}", fullmatch=True).filter(str.isascii),
            "qty": st.integers(1, 99),
            "price": st.decimals(allow_nan=False, allow_infinity=False, places=3)
            .map(str)
            .filter(lambda t: "E" not in t),
        },
        optional={"note": st.none() | st.fixed_dictionaries({"$": TEXTS}, optional={"@lang": TEXTS})},
    ),
    max_size=5,
)
CHOICES = st.lists(
    st.fixed_dictionaries({"big": st.integers() | st.integers().map(str)})
    | st.fixed_dictionaries({"ratio": st.floats(allow_nan=False, allow_infinity=False) | st.just("-INF")})
    | st.fixed_dictionaries({"raw": st.binary().map(bytes.hex)})
    | st.fixed_dictionaries({"span": st.integers(0, 10**9).map("P{}D".format)})
)


@settings(max_examples=150, deadline=None)
@given(items=ITEMS, choices=CHOICES, date=st.dates(), when=st.datetimes(timezones=st.none() | st.timezones()))
def test_there_and_back(items: Any, choices: Any, date: Any, when: Any) -> None:
    s = LOADED
    stamp = when.replace(tzinfo=None).isoformat()
    data = json.dumps({"date": date.isoformat(), "when": stamp, "items": {"item": items}, "choice": choices})
    value = s.from_json(data)
    assert s.from_json(s.to_json(value)) == value
    assert s.from_xml(s.to_xml(value)) == value
    assert s.from_xml(s.json_to_xml(data)) == value
    assert [c.big for c in value.choice if c.big is not None] == [int(c["big"]) for c in choices if "big" in c]
    notes = [None if i["note"] is None else i["note"]["$"] for i in items if "note" in i]
    assert [n and n.value for i in value.items.item if (n := i.note) is None or hasattr(n, "value")] == notes


LOADED = schema.load(XSD)
