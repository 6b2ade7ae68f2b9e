"""Twelve single faults of a purchase order, refused in all four directions: XML and JSON, in and out."""

from __future__ import annotations

import json
from typing import Any

import pytest

import schema

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:po" targetNamespace="urn:po"
  elementFormDefault="qualified"><xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="to"><xs:complexType><xs:sequence><xs:element name="name" type="xs:string"/>
      <xs:element name="zip" type="xs:decimal"/></xs:sequence><xs:attribute name="country" fixed="US"/>
    </xs:complexType></xs:element>
    <xs:element name="item" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="product" type="xs:string"/>
      <xs:element name="quantity"><xs:simpleType><xs:restriction base="xs:positiveInteger">
        <xs:maxExclusive value="100"/></xs:restriction></xs:simpleType></xs:element>
      <xs:element name="price" type="xs:decimal"/><xs:element name="shipped" type="xs:date" minOccurs="0"/>
    </xs:sequence><xs:attribute name="part" use="required"><xs:simpleType><xs:restriction base="xs:string">
      <xs:pattern value="\\d{3}-[A-Z]{2}"/></xs:restriction></xs:simpleType></xs:attribute></xs:complexType>
    </xs:element>
  </xs:sequence><xs:attribute name="date" type="xs:date"/></xs:complexType></xs:element></xs:schema>"""
GOOD = """<order xmlns="urn:po" date="1999-10-20"><to country="US"><name>Alice</name><zip>90952</zip></to>
  <item part="872-AA">
  <product>Mower</product><quantity>1</quantity><price>148.95</price><shipped>1999-05-21</shipped></item>
  <item part="926-AA"><product>Monitor</product><quantity>2</quantity><price>39.98</price></item></order>"""

# what is replaced in XML; a change of the JSON of the same fault; a change of the object
FAULTS: dict[str, tuple[tuple[str, str], Any, Any]] = {
    "bad integer": (("<quantity>1<", "<quantity>one<"), ("quantity", "one"), ("quantity", "one")),
    "integer beyond the bound": (("<quantity>1<", "<quantity>100<"), ("quantity", 100), ("quantity", 100)),
    "bad decimal": (("148.95", "148,95"), ("price", "148,95"), ("price", "148,95")),
    "bad date": (("1999-05-21", "1999-02-30"), ("shipped", "1999-02-30"), ("shipped", "1999-02-30")),
    "bad pattern": (("872-AA", "872-aa"), ("@part", "872-aa"), ("part", "872-aa")),
    "missing attribute": ((' part="872-AA"', ""), ("@part", ...), ("part", None)),
    "unknown attribute": (("<item part", '<item x="" part'), ("@x", ""), None),
    "missing element": (("<price>148.95</price>", ""), ("price", ...), ("price", None)),
    "unknown element": (("<price>", "<x/><price>"), ("x", ""), None),
    "an element twice": (
        ("<price>148.95</price>", "<price>1</price>" * 2),
        ("price", ["1", "1"]),
        ("price", ["1", "1"]),
    ),
    "fixed attribute": (('"US"', '"UK"'), None, None),
    "wrong order": (
        ("<product>Mower</product><quantity>1</quantity>", "<quantity>1</quantity><product>Mower</product>"),
        None,
        None,
    ),
}


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD)


@pytest.mark.parametrize("fault", FAULTS)
def test_in_xml(s: schema.Schema, fault: str) -> None:
    old, new = FAULTS[fault][0]
    assert old in GOOD
    bad = GOOD.replace(old, new, 1).encode()
    for call in (s.validate_xml, s.from_xml, s.xml_to_json):
        with pytest.raises(schema.ValidationError) as caught:
            call(bad)
        assert caught.value.errors[0].code.startswith("cvc-")
        assert caught.value.errors[0].line in (1, 2, 3)
        assert caught.value.errors[0].path.startswith("/order/")


@pytest.mark.parametrize("fault", [name for name, (_, change, _) in FAULTS.items() if change])
def test_in_json(s: schema.Schema, fault: str) -> None:
    data = json.loads(s.xml_to_json(GOOD.encode()))
    name, value = FAULTS[fault][1]
    if value is ...:
        del data["item"][0][name]
    else:
        data["item"][0][name] = value
    for call in (s.validate_json, s.from_json, s.json_to_xml):
        with pytest.raises(schema.ValidationError) as caught:
            call(json.dumps(data))
        assert caught.value.errors[0].path.startswith("item[0]")


def test_fixed_attribute_in_json_and_objects(s: schema.Schema) -> None:
    data = json.loads(s.xml_to_json(GOOD.encode()))
    data["to"]["@country"] = "UK"
    with pytest.raises(schema.ValidationError, match="cvc-"):
        s.from_json(json.dumps(data))
    value = s.from_xml(GOOD.encode())
    value.to.country = "UK"
    for call in (s.to_xml, s.to_json, s.validate):
        with pytest.raises(schema.ValidationError, match="cvc-"):
            call(value)


@pytest.mark.parametrize("fault", [name for name, (_, _, change) in FAULTS.items() if change])
def test_in_objects(s: schema.Schema, fault: str) -> None:
    value = s.from_xml(GOOD.encode())
    name, bad = FAULTS[fault][2]
    setattr(value.item[0], name, bad)
    for call in (s.to_xml, s.to_json, s.validate):
        with pytest.raises(schema.ValidationError):
            call(value)


def test_every_fault_is_listed_and_the_list_is_capped(s: schema.Schema) -> None:
    many = GOOD.replace("</order>", '<item part="x"><product/><quantity>0</quantity><price/></item>' * 500 + "</order>")
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(many.encode())
    assert len(caught.value.errors) == s.max_errors
    assert caught.value.more >= 1400
    assert caught.value.errors[1].path.startswith("/order/item[3]/")
    assert "more" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<order", "xml-not-well-formed"),
        (b"", "xml-not-well-formed"),
        (b"<!DOCTYPE order [<!ENTITY e 'x'>]><order xmlns='urn:po'>&e;</order>", "doctype-refused"),
        (b"<other/>", "cvc-elt.1"),
    ],
)
def test_no_document(s: schema.Schema, data: bytes, code: str) -> None:
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(data)
    assert caught.value.errors[0].code == code


def test_paths_where_names_have_prefixes(s: schema.Schema) -> None:
    bad = GOOD.replace("<quantity>2<", "<quantity>200<").replace(' xmlns="urn:po"', ' xmlns:p="urn:po"')
    bad = bad.replace("</", "\0").replace("<", "<p:").replace("\0", "</p:")
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(bad.encode())
    assert caught.value.errors[0].path == "/order/item[2]/quantity"


@pytest.mark.parametrize(("name", "bad", "path"), [("quantity", "one", "quantity"), ("part", None, "@part")])
def test_a_value_of_another_type_is_told_with_its_place(s: schema.Schema, name: str, bad: Any, path: str) -> None:
    value = s.from_xml(GOOD.encode())
    setattr(value.item[1], name, bad)
    for call in (s.to_xml, s.to_json, s.validate):
        with pytest.raises(schema.ValidationError) as caught:
            call(value)
        assert caught.value.errors[0].code == "wrong-type"
        assert caught.value.errors[0].path == f"item[1].{path}"
