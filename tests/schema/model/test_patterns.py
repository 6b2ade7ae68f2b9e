"""Patterns that may take exponentially long, and harmless ones that look like them."""

from __future__ import annotations

import pytest

import schema
from schema.model.patterns import is_ambiguous


@pytest.mark.parametrize(
    "pattern",
    ["(a|aa)+b", "(x+x+)+y", "(.*a){12}", r"([a-z]|\i)+:", "(a|b|ab)*c", r"(\d{1,3})*x", "(a{0,5})*b"],
)
def test_ambiguous(pattern: str) -> None:
    assert is_ambiguous(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"\d{3}-[A-Z]{2}", "[A-Z]{6,6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3,3}){0,1}", "(ab|ac)*d", "a*b*c*", r"(\d+;)*", ".*",
        r"[a-z-[aeiou]]+", r"[^\s@]+@[^\s@]+", r"(\+|-)?\d+(\.\d+)?", r"^$", r"\p{Lu}\p{L}*( \p{Lu}\p{L}*)*x?",
        r"[\i-[:]][\c-[:]]*", "((a|b)c)*",
        "(a+)+b", "(a*)*", r"(\w+\s*)+", "[0-9]{1,15}", r"(\d{1,3}\.){3}\d{1,3}", "[a-z]{2}(-[A-Z]{2,8})*",
    ],
)  # fmt: skip
def test_harmless(pattern: str) -> None:
    assert not is_ambiguous(pattern)


def xsd(pattern: str) -> bytes:
    return f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:simpleType>
      <xs:restriction base="xs:string"><xs:pattern value="{pattern}"/></xs:restriction></xs:simpleType></xs:element>
      </xs:schema>""".encode()


def test_a_schema_with_one_is_refused_unless_allowed() -> None:
    with pytest.raises(schema.SchemaError) as caught:
        schema.load(xsd("(a|aa)+b"))
    problem = caught.value.errors[0]
    assert (problem.code, problem.value) == ("schema-unsafe", "(a|aa)+b")
    assert schema.load(xsd("(a|aa)+b"), unsafe_patterns=True).from_xml(b"<r>aaab</r>") == "aaab"
