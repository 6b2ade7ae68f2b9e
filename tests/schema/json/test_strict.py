"""JSON is as strict as XML: a text is a value in JSON exactly when it is one in XML, and null is xsi:nil only."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

import schema

TYPES = (
    "decimal", "integer", "int", "unsignedLong", "double", "float", "boolean", "date", "dateTime", "time", "duration",
    "gYear", "gYearMonth", "gMonth", "gMonthDay", "gDay", "hexBinary", "base64Binary", "string", "token", "anyURI",
    "language", "NMTOKEN",
)  # fmt: skip
FIELDS = "".join(f'<xs:element name="{name}" type="xs:{name}" minOccurs="0"/>' for name in TYPES)
S = schema.load(
    f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
  {FIELDS}<xs:element name="list" minOccurs="0"><xs:simpleType><xs:list itemType="xs:NMTOKEN"/></xs:simpleType>
  </xs:element><xs:element name="many" type="xs:decimal" minOccurs="0" maxOccurs="9"/>
  <xs:element name="void" type="xs:decimal" minOccurs="0" maxOccurs="9" nillable="true"/>
  <xs:element name="one" minOccurs="0" nillable="true"><xs:complexType><xs:sequence>
    <xs:element name="a" type="xs:int" minOccurs="0"/></xs:sequence><xs:attribute name="b"/></xs:complexType>
  </xs:element></xs:sequence><xs:attribute name="c" type="xs:date"/></xs:complexType></xs:element>
</xs:schema>""".encode()
)
TEXTS = (
    "", " ", "1", " 1 ", "\n1\t", "+1", "-1", "01", "1.", ".5", "1.50", "1E5", "1e-5", "1_0", "0x1", "\u0661", "NaN",
    "INF", "Infinity", "inf", "true", "0.0000001", "2026-01-31", " 2026-01-31Z ", "2026-02-30", "20260131",
    "2026-01-31T24:00:00", "2026-01-31 12:00:00", "12:00", "12:00:00.5", "24:00:00", "P1D", "P", "PT", "-P1M", "P1S",
    "2026", "2026-13", "2026-12", "--12", "--12-31", "--02-30", "---31", "---32", "0AfF", "0A FF", "A", "YQ==", "YR==",
    "YQ", "Y W Jj", "a b", "a\u00a0b", "x",
)  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_a_text_is_valid_in_json_when_it_is_in_xml(kind: str) -> None:
    """Except that integers of few digits and booleans are themselves in JSON, and no text."""
    if kind in ("int", "boolean"):
        pytest.skip("no text in JSON")
    for text in TEXTS:
        if kind == "base64Binary" and not re.fullmatch(r"[A-Za-z0-9+/= ]*", text):
            continue  # libxml2 skips what is no base64, by a decision of its own
        document = f"<r><{kind}>{text}</{kind}></r>".encode()
        data = json.dumps({kind: text})
        try:
            value = S.from_xml(document)
        except schema.ValidationError:
            with pytest.raises(schema.ValidationError) as caught:
                S.from_json(data)
            assert caught.value.errors[0].path == kind, (text, caught.value.errors)
        else:
            assert repr(S.from_json(data)) == repr(value), text
            assert repr(S.from_json(S.to_json(value))) == repr(value), text


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"decimal": 1.10}, "1.1"),
        ({"decimal": 5}, "5"),
        ({"many": ["0.0000001", 1]}, ["0.0000001", "1"]),
    ],
)
def test_numbers(data: Any, value: Any) -> None:
    (name,) = data
    assert json.loads(S.to_json(S.from_json(json.dumps(data)))) == {name: value}
    assert S.from_json('{"decimal":1E5}').decimal == Decimal(100000)
    assert S.from_json('{"double":1E5}').double == 100000.0


@pytest.mark.parametrize("number", ["1E999999999", "1E-999999999", "1E10001"])
def test_a_number_is_no_bomb(number: str) -> None:
    with pytest.raises(schema.ValidationError, match="more than 10000 digits"):
        S.from_json(f'{{"decimal":{number}}}')
    value = S.from_json('{"decimal":1}')
    value.decimal = Decimal(number)
    with pytest.raises(schema.ValidationError, match="more than 10000 digits") as caught:
        S.to_xml(value)
    assert caught.value.errors[0].path == "decimal"


@pytest.mark.parametrize("mapping", ["natural", "lua_schema"])
@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"decimal": None}, ["decimal"]),
        ({"many": [1, None]}, ["many[1]"]),
        ({"many": None}, ["many"]),
        ({"string": None, "date": None}, ["date", "string"]),
        ({"one": {"a": None}}, ["one.a"]),
        ({"void": [None, 1], "string": "null"}, []),
        ({"one": None}, []),
    ],
)
def test_null_is_nil(data: Any, paths: list[str], mapping: Any) -> None:
    text = json.dumps(data)
    if not paths:
        assert S.from_json(text, mapping=mapping) == S.from_xml(S.json_to_xml(text, mapping=mapping))
        return
    for call in (S.from_json, S.validate_json, S.json_to_xml):
        with pytest.raises(schema.ValidationError) as caught:
            call(text, mapping=mapping)
        assert [problem.path for problem in caught.value.errors][: len(paths)] == paths[: len(caught.value.errors)]
        assert "null" in caught.value.errors[0].message


def test_an_attribute_that_is_null() -> None:
    with pytest.raises(schema.ValidationError) as caught:
        S.from_json('{"@c":null}')
    assert caught.value.errors[0].path == "@c"


def test_an_item_of_a_list_is_one_item() -> None:
    assert S.from_json('{"list":["a","b"]}').list_ == ["a", "b"]
    for items in (["a b"], [""], ["a\tb", "c"]):
        value = S.from_json("{}")
        value.list_ = items
        for call in (lambda v=value: S.to_xml(v), lambda i=items: S.from_json(json.dumps({"list": i}))):
            with pytest.raises(schema.ValidationError, match="empty or holds white space") as caught:
                call()
            assert caught.value.errors[0].path == "list"


WRONG: dict[str, tuple[Any, ...]] = {
    "decimal": (1.5, "1.5", True, [], object()),
    "integer": (1.0, "1", False),
    "double": ("1.5", Decimal(1), None.__class__),
    "boolean": (1.5, "true", []),
    "date": ("2026-01-31", 5),
    "dateTime": ("2026-01-31T00:00:00", 5),
    "duration": ("P1D", 5),
    "gYear": (2026, "2026"),
    "hexBinary": ("0A", [1], bytearray(b"x")),
    "base64Binary": ("YQ==", 5),
    "string": (5, b"x", ["x"], True),
    "list": ("a b", 5, [5], [None]),
    "many": ("5", 5, [1.5], {"a": 1}, [None]),
    "one": ("x", {"a": 1}, 5),
}


@pytest.mark.parametrize("kind", WRONG)
def test_values_of_another_kind_are_told_with_their_field(kind: str) -> None:
    for bad in WRONG[kind]:
        value = S.from_json('{"token":"x"}')
        fields = dict(zip(type(value).__struct_encode_fields__, type(value).__struct_fields__, strict=True))
        setattr(value, fields[kind], bad)
        for call in (S.to_xml, S.to_json, S.validate):
            with pytest.raises(schema.ValidationError) as caught:
                call(value)
            problem = caught.value.errors[0]
            assert problem.code == "wrong-type", bad
            assert problem.path.partition("[")[0] == kind, (bad, problem)
            assert "Expected" in problem.message or "list" in problem.message, problem


def test_all_of_them_are_told() -> None:
    value = S.from_json('{"many":[1,2,3]}')
    value.many, value.date, value.c = [1.5, Decimal(2), "x"], 5, "today"
    with pytest.raises(schema.ValidationError) as caught:
        S.to_xml(value)
    assert [p.path for p in caught.value.errors] == ["@c", "date", "many[0]", "many[2]"]
