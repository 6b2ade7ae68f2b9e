"""lua_schema and BadgerFish: what they look like, that nothing is lost, that JSON is valid exactly when its XML is."""

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
    <xs:element name="item" maxOccurs="5" type="Item"/>
    <xs:element name="codes" type="Codes" minOccurs="0"/>
    <xs:element name="note" type="Note" minOccurs="0" nillable="true"/>
    <xs:element name="list" minOccurs="0"><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType></xs:element>
    <xs:element name="either" minOccurs="0"><xs:simpleType><xs:union memberTypes="xs:int xs:boolean"/>
      </xs:simpleType></xs:element>
    <xs:sequence minOccurs="0" maxOccurs="unbounded"><xs:element name="big" type="xs:integer"/>
      <xs:element name="ratio" type="xs:double"/></xs:sequence>
    <xs:element name="mixed" minOccurs="0"><xs:complexType mixed="true"><xs:sequence>
      <xs:element name="b" type="xs:string" minOccurs="0" maxOccurs="9"/></xs:sequence></xs:complexType></xs:element>
    <xs:any namespace="##other" minOccurs="0" processContents="skip"/>
  </xs:sequence><xs:attribute name="open" type="xs:boolean"/><xs:anyAttribute namespace="##other"
    processContents="skip"/></xs:complexType></xs:element>
  <xs:element name="count" type="xs:int"/><xs:element name="flag" type="xs:boolean"/>
  <xs:complexType name="Codes"><xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="a" type="xs:int"/>
    <xs:element name="b" type="xs:string"/></xs:choice></xs:complexType>
  <xs:complexType name="Item"><xs:sequence><xs:element name="price" type="xs:decimal"/>
    <xs:element name="qty" type="xs:unsignedLong" minOccurs="0"/></xs:sequence>
    <xs:attribute name="sku" use="required"/></xs:complexType>
  <xs:complexType name="Special"><xs:complexContent><xs:extension base="Item"><xs:sequence>
    <xs:element name="why" type="xs:QName"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
  <xs:complexType name="Note"><xs:simpleContent><xs:extension base="xs:string"><xs:attribute name="lang"/>
    </xs:extension></xs:simpleContent></xs:complexType>
</xs:schema>"""
XML = b"""<order xmlns="urn:t" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" open="false" xmlns:f="urn:f"
  f:x="y">
  <item sku="a"><price>1.50</price><qty>5</qty></item>
  <item sku="b" xsi:type="Special"><price>2</price><why>f:because</why></item>
  <codes><a>1</a><b>x</b><a>2</a></codes><note lang="en">n</note><list>1 2</list><either>true</either>
  <big>90071992547409931</big><ratio>INF</ratio><big>5</big><ratio>1.5</ratio>
  <mixed>text <b>bold</b> <b/>more</mixed>
  <x xmlns="urn:other" xmlns:g="urn:g" a="1" g:a="g:2">any <y xmlns="">thing</y></x></order>"""
LUA: dict[str, Any] = {
    "_attr": {"open": False, "x": {"ns": "urn:f", "name": "x", "value": "y"}},
    "item": [
        {"_attr": {"xsi:type": "Item", "sku": "a"}, "price": "1.50", "qty": "5"},
        {"_attr": {"xsi:type": "Special", "sku": "b"}, "price": "2", "why": "{urn:f}because"},
    ],
    "codes": [{"a": 1}, {"b": "x"}, {"a": 2}],
    "note": {"_attr": {"lang": "en"}, "_contained_value": "n"},
    "list": "1 2",
    "either": "true",
    "_sequence_group": [{"big": "90071992547409931", "ratio": "INF"}, {"big": "5", "ratio": 1.5}],
    "mixed": ["text ", {"b": "bold"}, " ", {"b": ""}, "more"],
}
LOADED = schema.load(XSD)
MAPPINGS = ("natural", "lua_schema", "badgerfish")


def calls(s: schema.Schema, data: bytes | str, **options: Any) -> Any:
    """The problem that all three ways in tell of."""
    found = []
    for call in (s.validate_json, s.from_json, s.json_to_xml):
        with pytest.raises(schema.ValidationError) as caught:
            call(data, **options)
        found.append(caught.value.errors[0])
    assert found[0] == found[1] == found[2]
    return found[0]


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_nothing_is_lost(mapping: Any) -> None:
    value = LOADED.from_xml(XML)
    data = LOADED.to_json(value, mapping=mapping, root="order")
    assert LOADED.xml_to_json(XML, mapping=mapping) == data
    assert LOADED.from_json(data, mapping=mapping, root="order") == value
    assert LOADED.from_xml(LOADED.json_to_xml(data, mapping=mapping, root="order")) == value


def test_what_lua_schema_looks_like() -> None:
    found = json.loads(LOADED.xml_to_json(XML, mapping="lua_schema"))
    wild = json.loads(found.pop("any"))
    assert found == LUA
    assert wild[0] == "any_ns2:x"
    assert wild[2:] == ["any ", ["y", {}, "thing"]]
    declared = {"xmlns:g": "urn:g", "xmlns:any_ns1": "urn:g", "xmlns:any_ns2": "urn:other"}
    assert wild[1] == {"a": "1", "any_ns1:a": "g:2", **declared}


def test_what_lua_schema_writes_is_read() -> None:
    """Declarations under plain names, infinities as "Inf"."""
    wild = json.dumps(["any_ns1:x", {"any_ns1": "urn:other", "a": "1"}, ["any_ns1:y", {}, "t"]])
    group = [{"big": "1", "ratio": "Inf"}, {"big": "2", "ratio": "-Inf"}]
    data = json.dumps(LUA | {"any": wild, "_sequence_group": group})
    value = LOADED.from_json(data, mapping="lua_schema", root="order")
    assert value.any_element.name == "{urn:other}x"
    assert value.any_element.content[0].name == "{urn:other}y"
    assert value.any_element.attributes == {"a": "1"}
    assert [one.ratio for one in value.sequence] == [float("inf"), float("-inf")]


@pytest.mark.parametrize(("root", "xml", "value"), [("count", "5", 5), ("flag", "false", False)])
def test_simple_roots(root: str, xml: str, value: object) -> None:
    data = f'<{root} xmlns="urn:t">{xml}</{root}>'.encode()
    assert json.loads(LOADED.xml_to_json(data, mapping="lua_schema")) == {root: value}
    (fish_value,) = json.loads(LOADED.xml_to_json(data, mapping="badgerfish")).values()
    assert fish_value["$"] == xml
    for mapping in MAPPINGS:
        json_text = LOADED.xml_to_json(data, mapping=mapping)  # type: ignore[arg-type]
        assert LOADED.from_json(json_text, mapping=mapping, root=root) == value  # type: ignore[arg-type]


def lua(change: dict[str, Any]) -> str:
    return json.dumps(LUA | change)


ITEM = LUA["item"][0]


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        (lua({"item": []}), "cvc-complex-type.2.4", None),
        (lua({"item": [ITEM | {"price": "1,5"}]}), "wrong-type", "item[0].price"),
        (lua({"item": [ITEM | {"qty": "-1"}]}), "cvc-datatype-valid.1.2.1", "item[0].qty"),
        (lua({"item": [ITEM, ITEM | {"nonsense": 1}]}), "unknown-member", "item[1].nonsense"),
        (lua({"item": [{"_attr": {"sku": "a", "x": "1", "xsi:type": "Item"}, "price": "1"}]}), "unknown-member", None),
        (lua({"item": [{"_attr": {"xsi:type": "Item"}, "price": "1"}]}), "missing-member", "item[0]"),
        (lua({"item": [{"_attr": [], "price": "1"}]}), "wrong-type", "item[0]._attr"),
        (lua({"codes": {"a": 1}}), "wrong-type", "codes"),
        (lua({"codes": [{"a": "1"}]}), "wrong-type", "codes[0].a"),
        (lua({"list": "1 x"}), "wrong-type", "list[1]"),
        (lua({"_attr": {"open": "yes"}}), "wrong-type", "_attr.open"),
        (lua({"_attr": {"y": "yes"}}), "wrong-type", "_attr.y"),
        (lua({"any": "nonsense"}), "wrong-type", "any"),
        (lua({"any": '["p:x", {}]'}), "wrong-type", "any"),
        (b"[]", "wrong-type", ""),
        (b"{", "json-not-well-formed", ""),
        (b"\xff", "json-not-well-formed", ""),
        (b'{"a":' + b"[" * 100_000, None, None),
    ],
)
def test_faults_in_lua_schema(data: str | bytes, code: str | None, path: str | None) -> None:
    problem = calls(LOADED, data, mapping="lua_schema", root="order")
    assert code is None or problem.code == code, problem
    assert path is None or problem.path == path, problem


def test_what_badgerfish_looks_like() -> None:
    two = b"""<order xmlns="urn:t" open="1"><item sku="a"><price>1</price></item><item sku="b"><price>2</price></item>
      </order>"""
    (found,) = json.loads(LOADED.xml_to_json(two, mapping="badgerfish")).values()
    assert found["@open"] == "true"
    assert found["ns1:item"] == [{"@sku": "a", "ns1:price": {"$": "1"}}, {"@sku": "b", "ns1:price": {"$": "2"}}]
    assert found["@xmlns"]["ns1"] == "urn:t"


def test_badgerfish_keeps_the_order() -> None:
    """Where elements of one name have others between them, and in mixed content."""
    found = json.loads(LOADED.xml_to_json(XML, mapping="badgerfish"))["ns1:order"]["$"]
    inner = {name: value for one in found for name, value in one.items()}
    assert inner["ns1:codes"]["$"] == [{"ns1:a": {"$": "1"}}, {"ns1:b": {"$": "x"}}, {"ns1:a": {"$": "2"}}]
    assert inner["ns1:mixed"]["$"] == ["text ", {"ns1:b": {"$": "bold"}}, " ", {"ns1:b": {}}, "more"]


def fish(**change: Any) -> str:
    good = {"@xmlns": {"$": "urn:t"}, "item": {"@sku": "a", "price": {"$": "1"}}}
    return json.dumps({"order": good | change})


def test_badgerfish_by_hand() -> None:
    value = LOADED.from_json(fish(), mapping="badgerfish")
    assert str(value.item[0].price) == "1"
    prefixed = {"p:order": {"@xmlns": {"p": "urn:t"}, "p:item": [{"@sku": "a", "p:price": {"$": 1}}]}}
    assert LOADED.from_json(json.dumps(prefixed), mapping="badgerfish") == value


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        (fish(item=[]), "cvc-complex-type.2.4", "order"),
        (fish(item=[{"@sku": "a", "price": {"$": "1,5"}}]), "cvc-datatype-valid.1.2.1", "order.item.price"),
        (fish(item={"@sku": "a", "price": "1"}), "wrong-type", "order.item.price"),
        (fish(item={"@sku": [], "price": {"$": "1"}}), "wrong-type", "order.item.@sku"),
        (fish(nonsense={}), "cvc-complex-type.2.4", "order.nonsense"),
        (fish(**{'x y="1"': {}}), "unknown-member", None),
        (fish(**{"@a='1' b": "1"}), "unknown-member", None),
        (fish(**{"@xmlns": "urn:t"}), "wrong-type", "order.@xmlns"),
        (fish(**{"q:x": {}}), "xml-not-well-formed", None),
        ('{"a":{},"b":{}}', "wrong-type", ""),
        ('{"other":{}}', "cvc-elt.1", "other"),
        (b"\xff", "json-not-well-formed", ""),
        (b'{"a":' + b"[" * 100_000, None, None),
        (b'{"a":' * 5000 + b"{}" + b"}" * 5000, None, None),
    ],
)
def test_faults_in_badgerfish(data: str | bytes, code: str | None, path: str | None) -> None:
    problem = calls(LOADED, data, mapping="badgerfish")
    assert code is None or problem.code == code, problem
    assert path is None or problem.path == path, problem


def test_another_root_than_the_one_asked_for() -> None:
    assert calls(LOADED, fish(), mapping="badgerfish", root="count").code == "unknown-root"


def test_an_unknown_mapping() -> None:
    every: tuple[Any, ...] = (
        LOADED.from_json, LOADED.validate_json, LOADED.json_to_xml, LOADED.to_json, LOADED.xml_to_json,
    )  # fmt: skip
    for call in every:
        with pytest.raises(ValueError, match="'parker' is no JSON mapping; there are natural, lua_schema, badgerfish"):
            call(b"", mapping="parker")


# --- properties ---------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8)
NAMES = st.from_regex(r"[a-z_]{1,3}[0-9]?", fullmatch=True) | st.just("any_ns1")
CLARK = NAMES | st.builds("{{urn:{}}}{}".format, st.sampled_from("fg"), NAMES)
WILD = st.recursive(
    st.tuples(CLARK, st.dictionaries(CLARK, TEXTS, max_size=3), st.lists(TEXTS.filter(bool), max_size=1)),
    lambda inner: st.tuples(CLARK, st.dictionaries(CLARK, TEXTS, max_size=2), st.lists(inner, max_size=3)),
    max_leaves=5,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ITEMS = st.builds(lambda p: {"@sku": "s", "@xsi:type": "Item", "price": str(p)}, st.integers())
CODES = st.builds(lambda a: {"a": a}, st.integers(-9, 9)) | st.builds(lambda b: {"b": b}, TEXTS)
GROUPS = st.builds(lambda b, r: {"big": b, "ratio": r}, st.integers(), FLOATS)
ORDERS = st.fixed_dictionaries(
    {"item": st.lists(ITEMS, min_size=1, max_size=5)},
    optional={
        "@*": st.dictionaries(st.builds("{{urn:{}}}{}".format, st.sampled_from("fg"), NAMES), TEXTS, max_size=3),
        "@open": st.booleans(),
        "codes": st.fixed_dictionaries({"choice": st.lists(CODES)}),
        "list": st.lists(st.integers(-9, 9)),
        "sequence": st.lists(GROUPS, max_size=3),
        "mixed": st.fixed_dictionaries({"$": st.lists(st.builds(lambda b: {"b": b}, TEXTS), max_size=9)}),
        "any_element": WILD.map(lambda one: ["{urn:f}w", *one[1:]]),
    },
)


@settings(max_examples=150, deadline=None)
@given(order=ORDERS)
def test_there_and_back(order: Any) -> None:
    value = LOADED.from_json(json.dumps(order), root="order")
    for mapping in ("natural", "lua_schema", "badgerfish"):
        data = LOADED.to_json(value, mapping=mapping, root="order")
        assert LOADED.from_json(data, mapping=mapping, root="order") == value
        assert LOADED.xml_to_json(LOADED.to_xml(value, root="order"), mapping=mapping) == data


def test_lua_schema_without_a_type_means_the_declared_one() -> None:
    """lua_schema itself knows no xsi:type, and writes none, also where other types derive from the declared one."""
    s = schema.load(
        b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t"
      elementFormDefault="qualified"><xs:element name="order"><xs:complexType><xs:sequence>
        <xs:element name="item" maxOccurs="9" type="Item"/></xs:sequence></xs:complexType></xs:element>
      <xs:complexType name="Item"><xs:sequence>
        <xs:element name="price" type="xs:string"/></xs:sequence></xs:complexType>
      <xs:complexType name="Special"><xs:complexContent><xs:extension base="Item"><xs:sequence>
        <xs:element name="why" type="xs:string"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
      </xs:schema>"""
    )
    xml = (
        b'<order xmlns="urn:t" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><item><price>1</price></item>'
        b'<item xsi:type="Special"><price>2</price><why>so</why></item></order>'
    )
    written = json.loads(s.xml_to_json(xml, mapping="lua_schema"))
    plain = written["item"][0]
    plain.pop("_attr", None)
    assert s.from_json(json.dumps(written), mapping="lua_schema") == s.from_xml(xml)
