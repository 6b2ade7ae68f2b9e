"""Whatever a type is called, its class gets in the way of nothing that generated code uses."""

from __future__ import annotations

import io

import pytest

import schema
from schema import values
from schema.codegen.names import class_name
from schema.codegen.plan import RESERVED
from schema.runtime import native, reading, writing

OWN = {"SCHEMA", "Schema", "Struct", "TypeAlias", "UnsetType", "Decimal", "ROOTS", "IDS", "ELEMENTS", "DEFAULT"}
USED = {*reading.__all__, *writing.__all__, *OWN, "DECLARATIONS"}
MORE = ["T0", "A0", "K0", "V0", "U0", "D0", "X0", "R0", "W0", "G0", "Q", "D", "E", "Any", "List", "Union", "None",
        "True", "self", "print", "list", "type", "class", "object", "field", "bind", "Exception", "Base"]  # fmt: skip


def xsd(name: str) -> bytes:
    elements = "".join(
        f'<xs:element name="e{i}" type="xs:string" minOccurs="0" maxOccurs="{1 + i % 2}"/>' for i in range(12)
    )
    attributes = "".join(f'<xs:attribute name="{a}" type="xs:int"/>' for a in "abc")
    return f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t"
      elementFormDefault="qualified"><xs:complexType name="{name}"><xs:sequence>{elements}<xs:element name="n"
      type="t:{name}" minOccurs="0"/></xs:sequence>{attributes}</xs:complexType>
      <xs:element name="r" type="t:{name}"/></xs:schema>""".encode()


@pytest.fixture(params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Python":
        monkeypatch.setattr(native, "_walker", None)


@pytest.mark.parametrize("name", sorted({*USED, *values.__all__, *MORE}))
def test_a_type_of_this_name(name: str, way: None) -> None:
    s = schema.load(xsd(name))
    data = b'<r xmlns="urn:t" a="1" b="2" c="3"><e0>x</e0><e1>y</e1><e1>z</e1><n><e0/></n></r>'
    value = s.from_xml(data)
    assert s.from_xml(s.to_xml(value)) == value == s.from_json(s.to_json(value))
    assert [one.e_0 for one in s.iter_xml(io.BytesIO(data), "n")] == [""]


def test_what_is_used_is_reserved() -> None:
    assert {name for name in USED if class_name(name) == name} <= RESERVED
