"""Rules in the XML form of schemarules, and the expressions in them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import schema
from schema.rules import load_rules
from schema.rules.expression import compile_expression, plain_path

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="from" type="xs:date" minOccurs="0"/><xs:element name="until" type="xs:date" minOccurs="0"/>
    <xs:element name="lines" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="name" type="xs:string"/><xs:element name="qty" type="xs:int"/></xs:sequence>
      </xs:complexType></xs:element>
  </xs:sequence><xs:attribute name="orderId" type="xs:string"/></xs:complexType></xs:element></xs:schema>"""
RULES = b"""<r:app_info xmlns:r="http://evpoco.tekenlight.org/message_rules">
  <rule_set package="shop.rules" rule_set_name="order">
    <rule type="independent" ref_element="until">
      <assertion condition="obj.from ~= nil and obj.until ~= nil">obj.until &gt;= obj.from</assertion>
      <error_def><error_message>%s is before %s, 100%%</error_message><input>obj.until</input><input>obj.from</input>
      </error_def></rule>
    <rule type="independent" ref_element="orderId"><assertion>(obj._attr.orderId ~= nil)</assertion>
      <error_def><error_code>MANDATORY</error_code></error_def></rule>
    <rule type="independent"><validation package="shop.rules" method="line" argument_type="array"
      argument="obj.lines" ae_condition="argument_obj.name != 'free' and i &gt;= 0" addnl_argument="len(obj.lines)"/>
      </rule>
    <rule type="dependent" ref_element="lines"><validation package="shop.stock" method="in_stock"
      argument_type="array" argument="obj.lines" condition="context is not None"/></rule>
    <rule type="dependent"><validation package="shop.stock" method="all_well" argument_type="scalar" argument="obj"
      addnl_argument="addnl_obj.x"/></rule>
  </rule_set>
  <rule_set package="shop.rules" rule_set_name="line">
    <rule type="independent" ref_element="qty"><assertion>obj.qty &gt; 0 and addnl_obj &lt; 9</assertion>
      <error_def><error_code>TOO_FEW</error_code><input>obj.name</input><input>main_obj.order_id</input></error_def>
    </rule>
  </rule_set>
  <mappings/>
</r:app_info>"""
MESSAGES = {"MANDATORY": "must be there", "TOO_FEW": "too few %s in order %s"}
CALLS: list[Any] = []


def in_stock(context: Any, line: Any, additional: Any) -> bool | str:
    return context[line.name] >= line.qty or "out of stock"


def all_well(context: Any, order: Any, additional: Any) -> None:
    CALLS.append((context, order.order_id, additional))


PACKAGES = {"shop.stock": SimpleNamespace(in_stock=in_stock, all_well=all_well)}
LOADED = schema.load(XSD)


def order(lines: str = "<lines><name>nut</name><qty>2</qty></lines>", dates: tuple[str, ...] = ()) -> bytes:
    given = "".join(f"<{n}>{d}</{n}>" for n, d in zip(("from", "until"), dates, strict=False))
    return f'<order orderId="o1">{given}{lines}</order>'.encode()


def problems(document: bytes, **options: Any) -> list[tuple[str, str, str]]:
    rules = load_rules(RULES, packages=PACKAGES, messages=MESSAGES)["order"]
    try:
        LOADED.with_rules(rules, **options).validate_xml(document)
    except schema.ValidationError as error:
        return [(p.path, p.code, p.message) for p in error.errors]
    return []


def test_independent_then_dependent() -> None:
    assert problems(order(dates=("2026-01-02", "2026-01-01")).replace(b' orderId="o1"', b"")) == [
        ("until", "rule", "2026-01-01 is before 2026-01-02, 100%"),
        ("@orderId", "MANDATORY", "must be there"),
    ]
    bad = order("<lines><name>free</name><qty>0</qty></lines><lines><name>nut</name><qty>0</qty></lines>")
    assert problems(bad, context={}) == [("lines[1].qty", "TOO_FEW", "too few nut in order o1")]
    assert problems(order(), context={"nut": 1}) == [("lines[0]", "rule", "out of stock")]


def test_what_obeys() -> None:
    CALLS.clear()
    assert problems(order(dates=("2026-01-01", "2026-01-01")), additional={"x": 7}) == []
    assert CALLS == [(None, "o1", 7)]


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "rules.xml").write_bytes(RULES)
    assert set(load_rules(tmp_path / "rules.xml", packages=PACKAGES, messages=MESSAGES)) == {"order", "line"}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('argument_type="scalar"', 'argument_type="list"', 15, "'list' is not"),
        ("<error_code>MANDATORY<", "<error_code>OPTIONAL<", 8, "'OPTIONAL' is none of the messages"),
        ("<input>obj.from</input>", "", 5, "has 2 %s, but there are 1 inputs"),
        ("(obj._attr.orderId ~= nil)", "(obj.orderId ~= nihil)", 7, "'nihil' is none of"),
        ("(obj._attr.orderId ~= nil)", "obj.lines:len()", 7, "is no expression"),
        ('method="in_stock"', 'method="in_stack"', 13, "has no function 'in_stack'"),
        ('package="shop.stock"', 'package="os"', 13, "package 'os' is none of those given"),
        ('rule_set_name="line"', 'rule_set_name="order"', 17, "declared twice"),
        ("<mappings/>", "<mapping/>", 22, "not expected"),
        ("<r:app_info", "<!DOCTYPE x><r:app_info", 1, "DOCTYPE"),
    ],
)
def test_what_cannot_work_is_told_when_loading(old: str, new: str, line: int, message: str) -> None:
    bad = RULES.replace(old.encode(), new.encode(), 1)
    assert bad != RULES
    with pytest.raises(schema.SchemaError) as caught:
        load_rules(bad, packages=PACKAGES, messages=MESSAGES)
    assert message in caught.value.errors[0].message
    assert caught.value.errors[0].line == line, caught.value.errors


NAMES = frozenset({"obj", "context"})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "obj.__class__", "obj._x", "open('x')", "obj.lines.append(1)", "(lambda: 1)()", "f'{obj}'",
        "[x for x in obj.lines if x.__class__]", "obj ** 9", "(y := 1)", "len.__self__", "eval('1')", "obj; 1", "",
        "_field(obj, '__class__')", "await obj", "{**obj}",
    ],
)  # fmt: skip
def test_what_expressions_may_not_do(text: str) -> None:
    with pytest.raises(ValueError, match=r"no expression|not allowed|may call only|is none of|out of reach"):
        compile_expression(text, NAMES)


def test_no_way_into_the_interpreter() -> None:
    for text in ("(x for x in [1]).gi_frame", "len.name", "context.x", "str.mro"):
        with pytest.raises(AttributeError):
            compile_expression(text, NAMES)({"obj": None, "context": compile_expression})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("obj.a.b.c == nil", True),
        ("'a ~= b' ~= 'a != b'", True),
        ("sum(x * 2 for x in obj.list if x > 1)", 10),
        ("not (true and false) or nil", True),
        ("max(len(obj.list), 1) if obj.list else 0", 3),
        ("obj.list[-1] in {3, 4}", True),
    ],
)
def test_what_expressions_can_do(text: str, value: object) -> None:
    assert compile_expression(text, NAMES)({"obj": {"a": None, "list": [1, 2, 3]}, "context": None}) == value


@pytest.mark.parametrize(("text", "path"), [("obj.a.b", "a.b"), ("obj", ""), ("(obj.a)", "a"), ("obj.a[0]", None)])
def test_plain_paths(text: str, path: str | None) -> None:
    assert plain_path(text) == path
