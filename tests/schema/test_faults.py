"""Twelve single faults of a purchase order, refused in all four directions and mappings: XML and JSON, in and out."""

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

MAPPINGS = ("natural", "lua_schema", "badgerfish")

# what is replaced in XML; whose field (of the first item, or of the address), its name in XML, and its value in JSON
# and objects: ... means that it is not there. None: see NOT_EXPRESSIBLE.
FAULTS: dict[str, tuple[tuple[str, str], tuple[str, str, Any] | None]] = {
    "bad integer": (("<quantity>1<", "<quantity>one<"), ("item", "quantity", "one")),
    "integer beyond the bound": (("<quantity>1<", "<quantity>100<"), ("item", "quantity", 100)),
    "bad decimal": (("148.95", "148,95"), ("item", "price", "148,95")),
    "bad date": (("1999-05-21", "1999-02-30"), ("item", "shipped", "1999-02-30")),
    "bad pattern": (("872-AA", "872-aa"), ("item", "@part", "872-aa")),
    "missing attribute": ((' part="872-AA"', ""), ("item", "@part", ...)),
    "unknown attribute": (("<item part", '<item x="" part'), ("item", "@x", "")),
    "missing element": (("<price>148.95</price>", ""), ("item", "price", ...)),
    "unknown element": (("<price>", "<x/><price>"), ("item", "x", "")),
    "an element twice": (("<price>148.95</price>", "<price>1</price>" * 2), ("item", "price", ["1", "1"])),
    "fixed attribute": (('"US"', '"UK"'), ("to", "@country", "UK")),
    "wrong order": (
        ("<product>Mower</product><quantity>1</quantity>", "<quantity>1</quantity><product>Mower</product>"),
        None,
    ),
}
# Where a fault cannot be made, and why: what happens instead is tested below.
NOT_EXPRESSIBLE = {
    ("wrong order", "natural"): "members of a JSON object have no order: it is the right document",
    ("wrong order", "lua_schema"): "members of a JSON object have no order: it is the right document",
    ("wrong order", "objects"): "fields have no order: they are written as the schema has them",
    ("unknown attribute", "objects"): "the class has no such field: Python refuses it",
    ("unknown element", "objects"): "the class has no such field: Python refuses it",
}


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD)


@pytest.mark.parametrize("fault", FAULTS)
def test_in_xml(s: schema.Schema, fault: str) -> None:
    old, new = FAULTS[fault][0]
    assert old in GOOD
    bad = GOOD.replace(old, new, 1).encode()
    for call in (
        s.validate_xml,
        s.from_xml,
        s.xml_to_json,
        *(lambda d, m=m: s.xml_to_json(d, mapping=m) for m in MAPPINGS),
    ):
        with pytest.raises(schema.ValidationError) as caught:
            call(bad)
        assert caught.value.errors[0].code.startswith("cvc-")
        assert caught.value.errors[0].line in (1, 2, 3)
        assert caught.value.errors[0].path.startswith("/order/")


def changed(text: bytes, mapping: str, whose: str, name: str, value: Any) -> str:
    """JSON of a mapping with one member of the first item, or of the address, changed."""
    data = json.loads(text)
    owner = data["order"][whose] if mapping == "badgerfish" else data[whose]
    owner = owner[0] if whose == "item" else owner
    if name.startswith("@") and mapping == "lua_schema":
        owner, name = owner.setdefault("_attr", {}), name[1:]
    if value is ...:
        del owner[name]
    elif mapping == "badgerfish" and not name.startswith("@"):
        owner[name] = [{"$": one} for one in value] if isinstance(value, list) else {"$": value}
    else:
        owner[name] = value
    return json.dumps(data)


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("fault", [name for name, (_, change) in FAULTS.items() if change])
def test_in_json(s: schema.Schema, fault: str, mapping: Any) -> None:
    change = FAULTS[fault][1]
    assert change is not None
    bad = changed(s.xml_to_json(GOOD.encode(), mapping=mapping), mapping, *change)
    for call in (s.validate_json, s.from_json, s.json_to_xml):
        with pytest.raises(schema.ValidationError) as caught:
            call(bad, mapping=mapping)
        where = ("order." if mapping == "badgerfish" else "") + ("item[0]" if change[0] == "item" else "to")
        assert caught.value.errors[0].path.startswith(where), caught.value.errors


def test_the_order_of_elements_in_json(s: schema.Schema) -> None:
    """Only BadgerFish has one, that of the members; elsewhere any order means the same document."""
    for mapping in MAPPINGS:
        data = json.loads(s.xml_to_json(GOOD.encode(), mapping=mapping))  # type: ignore[arg-type]
        items = data["order"]["item"] if mapping == "badgerfish" else data["item"]
        items[0] = dict(reversed(items[0].items()))
        if mapping == "badgerfish":
            with pytest.raises(schema.ValidationError, match=r"This element is not expected"):
                s.from_json(json.dumps(data), mapping=mapping)
        else:
            assert ("wrong order", mapping) in NOT_EXPRESSIBLE
            assert s.from_json(json.dumps(data), mapping=mapping) == s.from_xml(GOOD.encode())  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [name for name in FAULTS if (name, "objects") not in NOT_EXPRESSIBLE])
def test_in_objects(s: schema.Schema, fault: str) -> None:
    change = FAULTS[fault][1]
    assert change is not None
    whose, name, bad = change
    value = s.from_xml(GOOD.encode())
    setattr(value.to if whose == "to" else value.item[0], name.removeprefix("@"), None if bad is ... else bad)
    outward = (lambda v, m=m: s.to_json(v, mapping=m) for m in MAPPINGS)
    for call in (s.to_xml, s.validate, s.to_json, *outward):
        with pytest.raises(schema.ValidationError) as caught:
            call(value)
        where = ("item[0]", "/order/item[1]") if whose == "item" else ("to", "/order/to")
        assert caught.value.errors[0].path.startswith(where), caught.value.errors


@pytest.mark.parametrize("fault", [name for name, where in NOT_EXPRESSIBLE if where == "objects"])
def test_what_objects_cannot_say(s: schema.Schema, fault: str) -> None:
    value = s.from_xml(GOOD.encode())
    change = FAULTS[fault][1]
    if change is None:  # the order of the arguments means nothing
        item = value.item[0]
        fields = [name for name in item.__struct_fields__ if getattr(item, name) is not None]
        value.item[0] = type(item)(**{name: getattr(item, name) for name in reversed(fields)})
        assert s.from_xml(s.to_xml(value)) == s.from_xml(GOOD.encode())
        return
    with pytest.raises(AttributeError):
        setattr(value.item[0], change[1].removeprefix("@"), "")
    with pytest.raises(TypeError):
        type(value.item[0])(**{change[1].removeprefix("@"): ""})


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
