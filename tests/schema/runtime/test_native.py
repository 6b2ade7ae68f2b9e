"""Readers in C make what the generated readers make; and where they do not fit, these do it all."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

import schema
from schema.runtime import native, offload

if not native.available():
    pytest.skip("no readers in C here", allow_module_level=True)

from schema.runtime import _walker
from schema.runtime._walker import Reader, fits

HEAD = (
    '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:a" xmlns:o="urn:a"'
    ' targetNamespace="urn:a" elementFormDefault="qualified">'
)
XSD = f"""{HEAD}
  <xs:attributeGroup name="many">
    <xs:attribute name="s" type="xs:string"/><xs:attribute name="t" type="xs:token" default="of old"/>
    <xs:attribute name="n" type="xs:int"/>
    <xs:attribute name="l"><xs:simpleType><xs:list itemType="xs:int"/></xs:simpleType></xs:attribute>
  </xs:attributeGroup>
  <xs:complexType name="Text"><xs:simpleContent><xs:extension base="xs:string"><xs:attributeGroup ref="many"/>
    </xs:extension></xs:simpleContent></xs:complexType>
  <xs:complexType name="Open"><xs:sequence><xs:element name="x" type="xs:decimal" minOccurs="0" maxOccurs="unbounded"/>
    </xs:sequence><xs:attribute name="n" type="xs:int"/><xs:anyAttribute processContents="skip"/></xs:complexType>
  <xs:complexType name="Sub"><xs:complexContent><xs:extension base="Open">
    <xs:sequence><xs:element name="y" type="xs:date"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
  <xs:complexType name="Empty"/>
  <xs:complexType name="Nil"><xs:sequence><xs:element name="v" type="xs:int"/></xs:sequence>
    <xs:attribute name="why" type="xs:string"/></xs:complexType>
  <xs:simpleType name="digits"><xs:restriction base="xs:int"><xs:pattern value="\\d+"/></xs:restriction></xs:simpleType>
  <xs:simpleType name="either"><xs:union memberTypes="xs:int xs:boolean xs:date"/></xs:simpleType>
  <xs:element name="r"><xs:complexType><xs:sequence>
    <xs:element name="string" type="xs:string" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="line" type="xs:normalizedString" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="token" type="xs:token" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="int" type="xs:int" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="integer" type="xs:integer" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="digits" type="digits" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="decimal" type="xs:decimal" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="double" type="xs:double" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="boolean" type="xs:boolean" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="date" type="xs:date" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="when" type="xs:dateTime" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="name" type="xs:QName" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="either" type="either" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="given" type="xs:string" default="taken" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="nilint" type="xs:int" nillable="true" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="nil" type="Nil" nillable="true" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="text" type="Text" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="open" type="Open" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="empty" type="Empty" minOccurs="0"/>
    <xs:element name="one" type="xs:string" minOccurs="0"/>
    <xs:element name="any" type="xs:anyType" minOccurs="0"/>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>""".encode()


def load_pure(source: bytes) -> schema.Schema:
    found, native._walker = native._walker, None
    try:
        return schema.load(source).prepare()
    finally:
        native._walker = found


S, PURE = schema.load(XSD).prepare(), load_pure(XSD)


def document(*parts: str) -> bytes:
    return (
        '<o:r xmlns:o="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="urn:p">'
        + "".join(f"<o:{part.partition(' ')[0]} {part.partition(' ')[2]}" for part in parts)
        + "</o:r>"
    ).encode()


def el(name: str, text: str = "", attributes: str = "") -> str:
    return f"{name} {attributes}>{text}</o:{name}>"


def kinds(value: Any) -> Any:
    """The value with all types in it, which == and repr do not tell."""
    if hasattr(value, "__struct_fields__"):
        return type(value).__name__, {name: kinds(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list):
        return list, [kinds(one) for one in value]
    if isinstance(value, dict):
        return {name: kinds(one) for name, one in value.items()}
    return type(value).__name__, repr(value)


def same(data: bytes) -> Any:
    value = S.from_xml(data)
    assert kinds(value) == kinds(PURE.from_xml(data))
    return value


def test_they_are_in_use() -> None:
    names = [name for name in S.unit("xml_reader") if name[0] == "r" and name[1:].isdigit()]
    assert {type(S.unit("xml_reader")[name]) for name in names} == {Reader}
    assert not any(type(value) is Reader for value in PURE.unit("xml_reader").values())


BIG = 10**15
CASES = [
    *[
        el("string", x)
        for x in ("", " a \t b ", "<![CDATA[<&>]]>", "a<!-- c -->b", "a<?p i?>b", "&amp;&#233;&#x1F600;")
    ],
    el("string", "a<![CDATA[b]]>c"),
    el("string", "<!-- c -->x"),
    *[el("line", x) for x in ("", "a\tb\nc", " a  b ", "é\u00a0")],
    *[el("token", x) for x in ("", " a ", "a  b", "a b", "\n", "\u00a0a\u2003 b", "a\tb", " ")],
    *[el("int", x) for x in ("0", "-0", "+7", "007", " 12\n", "-2147483648", "2147483647")],
    *[el("integer", str(x)) for x in (1 << 53, (1 << 53) + 1, BIG - 1, BIG, -BIG, BIG * BIG, "+000000000000000000001")],
    *[el("digits", x) for x in ("7", "007", " 07 ")],
    *[el("decimal", x) for x in ("1", "-1.50", "+.5", "0.0000001", "1.", " 2 ", "0" * 40 + ".1", "-0")],
    *[el("double", x) for x in ("1e5", "INF", "-INF", "NaN", "-0")],
    *[el("boolean", x) for x in ("true", "false", "1", "0", " 1 ")],
    *[el("date", x) for x in ("2024-02-29", "2024-02-28", "0001-01-01", "10000-01-01", "-0001-12-31", "2024-01-01Z")],
    *[el("date", x) for x in ("9999-12-31", "2024-01-31-05:00")],
    *[el("when", x) for x in ("2024-02-29T24:00:00", "2024-01-31T12:00:00.1234567Z")],
    *[el("name", x) for x in ("o:a", "a", "xsi:b")],
    *[el("either", x) for x in ("1", "true", "2024-01-01")],
    *[el("given", x) for x in ("", "x", "<![CDATA[]]>")],
    el("nilint", "", 'xsi:nil="true"'),
    el("nilint", "5", 'xsi:nil="false"'),
    el("nil", "", 'xsi:nil="1"'),
    el("nil", "", 'xsi:nil="true" why="so"'),
    el("nil", "<o:v>3</o:v>", 'why=""'),
    el("text", "  ", 's="a &lt; b&#10;c" t="  x " n=" 5 " l=" 1  02 "'),
    el("text", "x", 'xsi:schemaLocation="a b" s="é"'),
    el("text", "", f's="{"long" * 50}"'),
    el("open", "<o:x>1</o:x><o:x>2.0</o:x>", 'n="1" p:n="2" xml:lang="en" other=""'),
    el("open", "", 'xsi:type="o:Open" p:q="&quot;"'),
    el("open", "<o:x>1</o:x><o:y>2024-01-01</o:y>", 'xsi:type="o:Sub" p:q="1"'),
    el("empty", "", 'xsi:type="o:Empty"'),
    el("one", "1"),
    el("any", "a<b c='1'/>d"),
]
ORDER = ["string", "line", "token", "int", "integer", "digits", "decimal", "double", "boolean", "date", "when", "name",
         "either", "given", "nilint", "nil", "text", "open", "empty", "one", "any"]  # fmt: skip


@pytest.mark.parametrize("part", CASES)
def test_each_value(part: str) -> None:
    same(document(part))


def test_all_together() -> None:
    value = same(document(*CASES))
    assert value.given == ["taken", "x", "taken"]
    assert value.nilint == [None, 5]
    assert value.open[0].any_attributes == {
        "{urn:p}n": "2", "{http://www.w3.org/XML/1998/namespace}lang": "en", "other": "",
    }  # fmt: skip
    value.line.append("more")
    assert same(document()).line == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(CASES), max_size=30), st.randoms(use_true_random=False))
def test_any_of_them(parts: list[str], random: Any) -> None:
    parts = sorted(parts, key=lambda part: (ORDER.index(part.partition(" ")[0]), random.random()))
    single = [name for name in ("empty", "one", "any") if sum(p.startswith(f"{name} ") for p in parts) > 1]
    parts = [part for part in parts if part.partition(" ")[0] not in single]
    same(document(*parts))


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n "))


@settings(max_examples=200, deadline=None)
@given(TEXT, st.sampled_from(["string", "line", "token"]), st.text(st.sampled_from("ab é"), max_size=40))
def test_any_text(text: str, name: str, attribute: str) -> None:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "")
    same(document(el(name, text), el("text", text, f's="{attribute}" t="{attribute}"')))


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"\s?[+-]?\d{1,25}(\.\d{0,12})?\s?", fullmatch=True))
def test_any_number(text: str) -> None:
    text = "".join(c if c in "+-." or c.isspace() else str(int(c)) for c in text)
    text = " ".join(text.split())
    same(document(el("decimal", text)))
    if "." not in text:
        same(document(el("integer", text)))


def test_names_that_differ_in_their_namespace_only(tmp_path: Path) -> None:
    (tmp_path / "b.xsd").write_text(
        """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:b"><xs:element name="x"
        type="xs:int"/><xs:attribute name="x" type="xs:int"/></xs:schema>"""
    )
    (tmp_path / "a.xsd").write_text(
        """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:b="urn:b"><xs:import namespace="urn:b"
        schemaLocation="b.xsd"/><xs:element name="r"><xs:complexType><xs:sequence><xs:element name="x"
        type="xs:string"/><xs:element ref="b:x"/></xs:sequence><xs:attribute name="x" type="xs:string"/>
        <xs:attribute ref="b:x"/></xs:complexType></xs:element></xs:schema>"""
    )
    s = schema.load(tmp_path / "a.xsd")
    value = s.from_xml(b'<r xmlns:b="urn:b" x="01" b:x="02"><x>03</x><b:x>04</b:x></r>')
    assert [getattr(value, name) for name in value.__struct_fields__] == ["01", 2, "03", 4]


def test_values_beyond_python_leave_nothing_half_done() -> None:
    data = document(el("string", "a"), el("integer", "1" * 5000))
    with pytest.raises(schema.ValidationError, match="4300 digits"):
        S.from_xml(data)
    assert same(document(el("string", "a"))).string == ["a"]


def test_references_are_counted() -> None:
    everything = document(*CASES)
    cls = type(S.from_xml(everything))
    watched = [cls, S.classes["Text"], "taken", None.__class__, etree.fromstring(everything)]
    S.from_xml(everything)
    gc.collect()
    before = [sys.getrefcount(one) for one in watched], len(gc.get_objects())
    for _ in range(200):
        S.from_xml(everything)
    gc.collect()
    after = [sys.getrefcount(one) for one in watched], len(gc.get_objects())
    assert before[0] == after[0]
    assert abs(after[1] - before[1]) < 50


def test_lists_are_out_of_the_collectors_sight() -> None:
    value = S.from_xml(document(el("string", "a")))
    assert not gc.is_tracked(value.string)
    assert not gc.is_tracked(value.token)


def test_others_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under gevent, long content is read in slices, also by several greenlets at once."""
    monkeypatch.setattr(offload, "BREATH", 0.0)
    data = document(*[el("text", str(i), f's="{i}"') for i in range(3000)])
    expected = kinds(PURE.from_xml(data))
    breathe, seen = offload.breathe_now, itertools.count()

    def counted() -> float:
        next(seen)
        return breathe()

    monkeypatch.setattr(_walker, "breathe_now", counted)
    try:
        jobs = [gevent.spawn(S.from_xml, data) for _ in range(3)]
        assert all(kinds(job.get()) == expected for job in jobs)
    finally:
        gevent.get_hub().destroy(destroy_loop=True)
    assert next(seen) > 100


def test_classes_of_another_layout_stay_with_python() -> None:
    class Plain(msgspec.Struct, gc=False):
        a: int = 0

    class Collected(msgspec.Struct):
        a: int = 0

    class Finished(msgspec.Struct, gc=False):
        a: int = 0

        def __post_init__(self) -> None:
            self.a += 1

    assert fits(Plain)
    assert not fits(Collected)
    assert not fits(Finished)


def test_another_libxml2_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etree, "LIBXML_VERSION", (2, 99, 0))
    assert native._load("_walker") is None
    monkeypatch.undo()
    assert native._load("_walker") is not None


def test_it_can_be_switched_off() -> None:
    code = "from schema.runtime import native; print(native.available())"
    environment = {**os.environ, "EVSCHEMA_PURE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
