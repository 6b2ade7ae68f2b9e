"""Where a fault is in JSON: also inside groups that repeat, mixed content, and what stands for something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

import schema

S = schema.load(
    b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
  <xs:simpleType name="Few"><xs:restriction base="xs:int"><xs:maxInclusive value="9"/></xs:restriction></xs:simpleType>
  <xs:element name="r"><xs:complexType><xs:sequence>
    <xs:choice minOccurs="0" maxOccurs="unbounded"><xs:element name="a" type="t:Few"/><xs:element name="b" type="t:B"/>
    </xs:choice>
    <xs:element name="s" minOccurs="0"><xs:complexType><xs:sequence maxOccurs="unbounded">
      <xs:element name="a" type="t:Few" maxOccurs="2"/><xs:element name="b" type="t:B" minOccurs="0"/></xs:sequence>
    </xs:complexType></xs:element>
    <xs:element name="m" minOccurs="0"><xs:complexType mixed="true"><xs:sequence><xs:element name="a" type="t:Few"
      minOccurs="0" maxOccurs="9"/></xs:sequence></xs:complexType></xs:element>
    <xs:element name="x" type="t:B" minOccurs="0" maxOccurs="9" nillable="true"/>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="B"><xs:sequence><xs:element name="n" type="t:Few"/></xs:sequence>
    <xs:attribute name="k" type="t:Few"/></xs:complexType>
  <xs:complexType name="C"><xs:complexContent><xs:extension base="t:B"><xs:sequence>
    <xs:element name="o" type="t:Few" maxOccurs="9"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
</xs:schema>"""
)
B = {"@xsi:type": "B", "n": 1}


@pytest.mark.parametrize(
    ("data", "path", "lua"),
    [
        ({"choice": [{"a": 1}, {"b": B}, {"a": 10}]}, "choice[2].a", "_choice_group[2].a"),
        ({"choice": [{"a": 1}, {"b": B | {"n": 10}}]}, "choice[1].b.n", "_choice_group[1].b.n"),
        ({"choice": [{"b": B}, {"b": B | {"@k": 10}}]}, "choice[1].b.@k", "_choice_group[1].b._attr.k"),
        ({"s": {"sequence": [{"a": [1, 2]}, {"a": [3, 10]}]}}, "s.sequence[1].a[1]", None),
        ({"s": {"sequence": [{"a": [1]}, {"a": [3], "b": B | {"n": 10}}]}}, "s.sequence[1].b.n", None),
        ({"m": {"$": ["text", {"a": 1}, "text", {"a": 10}]}}, "m.$[3].a", None),
        ({"x": [B, None, B | {"n": 10}]}, "x[2].n", "x[2].n"),
        ({"x": [B, {"@xsi:type": "C", "n": 1, "o": [1, 10]}]}, "x[1].o[1]", "x[1].o[1]"),
        ({"x": [B | {"@k": 10}]}, "x[0].@k", "x[0]._attr.k"),
    ],
)
def test_paths(data: Any, path: str, lua: str | None) -> None:
    with pytest.raises(schema.ValidationError) as caught:
        S.from_json(json.dumps(data))
    assert [p.path for p in caught.value.errors] == [path]
    assert caught.value.errors[0].line is None
    if lua is not None:
        good = json.dumps(data).replace("10", "9")
        text = S.to_json(S.from_json(good), mapping="lua_schema").replace(b"9", b"10")
        with pytest.raises(schema.ValidationError) as caught:
            S.from_json(text, mapping="lua_schema")
        assert [p.path for p in caught.value.errors] == [lua]


def test_children_are_looked_at_once_for_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each: with thousands of items and a hundred faults that took seconds."""
    from schema.json import natural

    looked: list[object] = []
    children = natural._children

    def counted(made: Any, value: Any) -> Any:
        looked.append(value)
        return children(made, value)

    monkeypatch.setattr(natural, "_children", counted)
    with pytest.raises(schema.ValidationError) as caught:
        S.from_json(json.dumps({"choice": [{"a": 1 if n < 50 else 10} for n in range(100)]}))
    assert [problem.path for problem in caught.value.errors] == [f"choice[{n}].a" for n in range(50, 100)]
    assert sum(type(value).__name__ == "R" for value in looked) <= 1
