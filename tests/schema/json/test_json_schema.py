"""to_json_schema: what is valid has the shape that jsonschema checks, and what has another shape is refused by both."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import schema
from schema.json.json_schema import DIALECT
from schema.tools.sample import make

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t"
  elementFormDefault="qualified">
  <xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="item" maxOccurs="5" type="Item"/>
    <xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="big" type="xs:integer"/>
      <xs:element name="ratio" type="xs:double"/><xs:element name="raw" type="xs:hexBinary"/>
      <xs:element name="span" type="xs:duration"/><xs:element name="year" type="xs:gYear"/>
      <xs:element name="name" type="xs:QName"/><xs:element name="at" type="xs:time"/></xs:choice>
    <xs:element name="mixed" minOccurs="0"><xs:complexType mixed="true"><xs:sequence>
      <xs:element name="b" type="xs:string" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>
    <xs:any namespace="##other" minOccurs="0" processContents="skip"/>
  </xs:sequence><xs:attribute name="open" type="xs:boolean" default="true"/></xs:complexType></xs:element>
  <xs:element name="count" type="xs:int"/>
  <xs:complexType name="Item"><xs:sequence><xs:element name="price" type="xs:decimal"/>
    <xs:element name="day" type="xs:date" minOccurs="0"/></xs:sequence>
    <xs:attribute name="sku" use="required"/></xs:complexType>
  <xs:complexType name="Special"><xs:complexContent><xs:extension base="Item"><xs:sequence>
    <xs:element name="why" type="xs:string"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
  </xs:schema>"""
XML = b"""<order xmlns="urn:t" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" open="false">
  <item sku="a"><price>1.50</price><day>2026-01-31Z</day></item>
  <item sku="b" xsi:type="Special"><price>2</price><why>because</why></item>
  <big>90071992547409931</big><big>5</big><ratio>INF</ratio><ratio>1.5</ratio><raw>0aFF</raw><span>P1DT2H</span>
  <year>2026</year><name>order</name><at>12:00:00</at><mixed>text <b>bold</b> more</mixed>
  <x xmlns="urn:other" a="1">anything</x></order>"""


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD)


@pytest.fixture(scope="module")
def validator(s: schema.Schema) -> Any:
    found = s.to_json_schema(root="order")
    assert (found["$schema"], found["title"]) == (DIALECT, "order")
    json.dumps(found)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


def test_what_is_valid_has_the_shape(s: schema.Schema, validator: Any) -> None:
    validator.validate(json.loads(s.xml_to_json(XML)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("item", 0, "@sku"), None),
        (("item", 0, "price"), ["1"]),
        (("item", 0, "day"), 5),
        (("item", 0, "@xsi:type"), "Nothing"),
        (("item", 1, "why"), None),
        (("nonsense",), 1),
        (("@open",), "yes"),
        (("choice", 0, "big"), "12x"),
        (("choice", 2, "ratio"), "inf"),
        (("choice", 4, "raw"), "0aF"),
    ],
)
def test_another_shape_is_refused_by_both(s: schema.Schema, validator: Any, path: tuple[Any, ...], value: Any) -> None:
    copy = json.loads(s.xml_to_json(XML))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    with pytest.raises(schema.ValidationError):
        s.validate_json(json.dumps(copy), root="order")
    assert not validator.is_valid(copy)


def test_roots(s: schema.Schema) -> None:
    assert s.to_json_schema(root="count")["type"] == "integer"
    with pytest.raises(schema.ValidationError, match="none of the roots"):
        s.to_json_schema(root="missing")


def test_a_sample_has_the_shape(s: schema.Schema, validator: Any) -> None:
    value = make(s.plan, s.classes, "{urn:t}order")
    validator.validate(json.loads(s.to_json(value, root="order")))


def test_what_the_shape_does_not_say_is_judged_all_the_same(s: schema.Schema, validator: Any) -> None:
    """An array may be left out when it is empty, here it must not be: the document says so, the classes do not."""
    copy = json.loads(s.xml_to_json(XML))
    del copy["item"]
    assert validator.is_valid(copy)
    with pytest.raises(schema.ValidationError):
        s.validate_json(json.dumps(copy), root="order")
