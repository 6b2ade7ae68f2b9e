"""Rules beyond XSD: two passes, paths, and the same verdict in all directions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import schema
from schema.rules import Broken, RuleSet, Scope

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="total" type="xs:decimal"/>
    <xs:element name="shipTo" type="Address" minOccurs="0"/>
    <xs:element name="lines" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="name" type="xs:string"/><xs:element name="qty" type="xs:int" minOccurs="0"/>
      <xs:element name="to" type="Address" minOccurs="0"/></xs:sequence>
      <xs:attribute name="unitPrice" type="xs:decimal" default="1"/></xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="Address"><xs:sequence><xs:element name="zip" type="xs:string"/>
    <xs:element name="land" type="xs:string"/></xs:sequence></xs:complexType>
  <xs:element name="ping" type="xs:int"/></xs:schema>"""
GOOD = b"""<order><total>5</total><lines unitPrice="2"><name>nut</name><qty>2</qty></lines>
  <lines><name>bolt</name><qty>1</qty></lines></order>"""
LOADED = schema.load(XSD)
rules = RuleSet("order", root="order")
address = RuleSet("address")


@rules.rule(at="total")
def total_is_that_of_the_lines(order: Any) -> bool | str:
    expected = sum(line.unit_price * (line.qty or 0) for line in order.lines)
    return order.total == expected or f"the total is {order.total}, the lines make {expected}"


@rules.rule(on="lines", each=True, at="qty", code="qty", message="no quantity below one")
def quantity(line: Any) -> bool:
    return line.qty is None or line.qty > 0


@rules.rule(on="lines", each=True, dependent=True, which=lambda line: line.qty, when=lambda _, s: s.context is not None)
def in_stock(line: Any, scope: Scope) -> Iterator[Broken]:
    stock = scope.context[line.name]
    if stock < line.qty:
        yield Broken(f"{stock} left in {scope.additional}", at="qty", code="stock")
        yield Broken("too much", at="unit_price")


@address.rule(at="zip")
def zip_of_the_land(at: Any) -> bool | str:
    return len(at.zip) == (4 if at.land == "AT" else 5) or "no zip code of this country"


rules.include(address, on="ship_to")
lines = RuleSet("line")
lines.include(address, on="to")
rules.include(lines, on="lines", each=True)


def every_way(s: schema.Schema, document: bytes) -> list[schema.Problem]:
    """The problems that every way in and out tells of, all the same."""
    value = LOADED.from_xml(document)
    data = LOADED.to_json(value)
    ways = (
        lambda: s.validate_xml(document),
        lambda: s.from_xml(document),
        lambda: s.xml_to_json(document),
        lambda: s.validate_json(data, root="order"),
        lambda: s.from_json(data, root="order"),
        lambda: s.json_to_xml(data, root="order"),
        lambda: s.validate(value),
        lambda: s.to_xml(value),
        lambda: s.to_json(value),
        *(lambda m=m: s.to_json(value, mapping=m) for m in ("lua_schema", "badgerfish")),
    )
    found = []
    for way in ways:
        with pytest.raises(schema.ValidationError) as caught:
            way()
        found.append(list(caught.value.errors))
    assert all(one == found[0] for one in found)
    return found[0]


def told(problems: list[schema.Problem]) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in problems]


def test_what_obeys_passes_in_all_directions() -> None:
    s = LOADED.with_rules(rules)
    value = s.from_xml(GOOD)
    assert s.from_xml(s.to_xml(value)) == s.from_json(s.to_json(value), root="order") == value
    assert s.judge is LOADED.judge  # made once for both


def test_independent_rules_are_all_told_and_dependent_ones_not_tried() -> None:
    bad = GOOD.replace(b"<qty>1<", b"<qty>-1<").replace(
        b"</total>", b"</total><shipTo><zip>1</zip><land>AT</land></shipTo>"
    )
    bad = bad.replace(b"</qty></lines></order>", b"</qty><to><zip>1010</zip><land>DE</land></to></lines></order>")
    problems = every_way(LOADED.with_rules(rules, context={}), bad)  # {}: in_stock would raise
    assert told(problems) == [
        ("total", "rule"),
        ("lines[1].qty", "qty"),
        ("shipTo.zip", "rule"),
        ("lines[1].to.zip", "rule"),
    ]
    assert problems[0].message == "the total is 5, the lines make 3"
    assert problems[1].message == "no quantity below one"


def test_dependent_rules_stop_at_the_first_that_is_broken() -> None:
    more = RuleSet("more", rules=[*rules.rules])
    more.assertion(lambda order: 1 / 0, "never", dependent=True)
    s = LOADED.with_rules(more, context={"nut": 1, "bolt": 9}, additional="Graz")
    problems = every_way(s, GOOD)
    assert told(problems) == [("lines[0].qty", "stock"), ("lines[0].@unitPrice", "rule")]
    assert problems[0].message == "1 left in Graz"
    LOADED.with_rules(rules, context={"nut": 2, "bolt": 1}).validate_xml(GOOD)


def test_rules_see_what_the_document_says() -> None:
    """Defaults are there, whichever way an object came."""
    s = LOADED.with_rules(rules)
    value = LOADED.from_xml(GOOD)
    value.lines[1].unit_price = None  # written as absent, and so it is 1
    s.validate(value)
    value.lines[0].qty = None
    with pytest.raises(schema.ValidationError, match="the lines make 1"):
        s.validate(value)


def test_rules_come_after_the_schema() -> None:
    with pytest.raises(schema.ValidationError) as caught:
        LOADED.with_rules(rules).from_xml(GOOD.replace(b"<qty>1<", b"<qty>x<"))
    assert caught.value.errors[0].code == "cvc-datatype-valid.1.2.1"


def test_rules_are_for_one_root() -> None:
    assert LOADED.with_rules(rules).from_xml(b"<ping>1</ping>") == 1
    with pytest.raises(schema.ValidationError, match="'pong' is none of the roots"):
        LOADED.with_rules(RuleSet("x", root="pong"))


def test_the_list_is_capped() -> None:
    s = LOADED.with_rules(rules)
    bad = GOOD.replace(b"</order>", b"<lines><name/><qty>0</qty></lines>" * 150 + b"</order>")
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(bad)
    assert len(caught.value.errors) == s.max_errors
    assert caught.value.more == 150 - s.max_errors


def test_a_fault_in_a_rule_goes_through_and_is_named() -> None:
    broken = RuleSet("broken")
    broken.rule(on="lines", each=True)(lambda line: line.nonsense)
    with pytest.raises(AttributeError) as caught:
        LOADED.with_rules(broken).from_xml(GOOD)
    assert caught.value.__notes__ == ["in rule '<lambda>' of rule set 'broken', at lines[0]"]


@pytest.mark.parametrize("function", [lambda: True, lambda a, b, c: True])
def test_a_rule_takes_one_or_two_arguments(function: Any) -> None:
    with pytest.raises(TypeError, match="a rule takes the value, or the value and a Scope"):
        RuleSet("x").rule()(function)


def test_a_rule_set_alone() -> None:
    value = LOADED.from_xml(GOOD)
    rules.check(value)
    value.total = Decimal(6)
    assert told(rules.problems(value)) == [("total", "rule")]


def test_json_of_every_mapping_obeys() -> None:
    s = LOADED.with_rules(rules)
    for mapping in ("natural", "lua_schema", "badgerfish"):
        data = LOADED.xml_to_json(GOOD.replace(b">5<", b">6<"), mapping=mapping)  # type: ignore[arg-type]
        assert json.loads(data)
        with pytest.raises(schema.ValidationError) as caught:
            s.from_json(data, mapping=mapping, root="order")  # type: ignore[arg-type]
        assert told(list(caught.value.errors)) == [("total", "rule")]
