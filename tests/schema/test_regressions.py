"""What lua_schema, whose users come here, gets wrong: one test for each defect, named for it.

The numbers are those of the study of it that this package was made by: V are faults of values, S of structures, C of
code generation and command line, E of errors. The answer is the standard's each time.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import schema
from schema.codegen.package import compile_folder, compile_schema
from schema.runtime.judge import parse
from schema.values import Duration, XsdDate, XsdDateTime

HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">'


def load(body: str) -> schema.Schema:
    return schema.load(f"{HEAD}{body}</xs:schema>".encode())


def simple(restriction: str) -> schema.Schema:
    """A root element ``r`` of a restricted simple type."""
    return load(f'<xs:element name="r"><xs:simpleType>{restriction}</xs:simpleType></xs:element>')


def restricted(base: str, facets: str) -> schema.Schema:
    return simple(f'<xs:restriction base="xs:{base}">{facets}</xs:restriction>')


def builtin(name: str) -> schema.Schema:
    return load(f'<xs:element name="r" type="xs:{name}"/>')


def xml(text: str, attributes: str = "") -> bytes:
    return f'<t:r xmlns:t="urn:t" {attributes}>{text}</t:r>'.encode()


def valid(s: schema.Schema, text: str) -> bool:
    """Whether a text is; its way through the object and back says the same."""
    try:
        value = s.from_xml(xml(text))
    except schema.ValidationError:
        return False
    assert s.from_xml(s.to_xml(value)) == value
    assert s.from_json(s.to_json(value)) == value
    return True


def complex_type(content: str, attributes: str = "") -> schema.Schema:
    return load(f'<xs:element name="r"><xs:complexType>{content}{attributes}</xs:complexType></xs:element>')


# --- V: values ----------------------------------------------------------------------------------------------------


def test_v01_total_and_fraction_digits() -> None:
    """They raise an error of Lua, and count wrongly besides."""
    s = restricted("decimal", '<xs:totalDigits value="5"/><xs:fractionDigits value="2"/>')
    assert all(valid(s, text) for text in ("123.45", "-12345", "0.10", "00123.4500"))
    assert not any(valid(s, text) for text in ("123456", "1.234", "1234.56"))


def test_v02_lengths_are_characters() -> None:
    """They are counted in bytes."""
    s = restricted("string", '<xs:length value="3"/>')
    assert valid(s, "\u00e4\u00f6\u00fc")
    assert valid(s, "\U0001f600ab")
    assert not valid(s, "\u00e4")


@pytest.mark.parametrize(("kind", "good", "long"), [("hexBinary", "0aFF", "0aFF00"), ("base64Binary", "YWI=", "YWJj")])
def test_v03_facets_of_binaries(kind: str, good: str, long: str) -> None:
    """They are ignored, and what is no binary is absent."""
    s = restricted(kind, '<xs:length value="2"/>')
    assert s.from_xml(xml(good)) == (b"\x0a\xff" if kind == "hexBinary" else b"ab")
    assert not valid(s, long)
    assert not valid(s, "0" if kind == "hexBinary" else "YWI")


def test_v04_patterns_of_one_step_are_alternatives() -> None:
    """They are all asked for; so are those of several steps, which is right."""
    s = restricted("string", '<xs:pattern value="h.*"/><xs:pattern value="he.*"/>')
    assert valid(s, "hullo")
    inner = '<xs:restriction base="xs:string"><xs:pattern value="h.*"/></xs:restriction>'
    s = simple(f'<xs:restriction><xs:simpleType>{inner}</xs:simpleType><xs:pattern value=".*o"/></xs:restriction>')
    assert valid(s, "hullo")
    assert not valid(s, "hull")


def test_v05_patterns_are_compiled_once() -> None:
    """They are compiled at each check. Here: the schema is compiled once, for all threads."""
    s = restricted("string", '<xs:pattern value="a+"/>')
    compiled = s.judge.compiled
    assert valid(s, "aaa")
    assert s.judge.compiled is compiled


def test_v06_floats_and_bounds_are_exact() -> None:
    """Comparisons have an epsilon of 1e-8, -1e-10 becomes -0.0, bounds of decimals go through a double."""
    s = restricted("double", '<xs:minExclusive value="0"/>')
    assert valid(s, "1e-10")
    assert not valid(s, "-1e-10")
    assert builtin("double").from_xml(xml("-1e-10")) == -1e-10
    assert not valid(restricted("double", '<xs:enumeration value="1"/>'), "1.000000001")
    s = restricted("decimal", '<xs:maxInclusive value="0.30000000000000000001"/>')
    assert valid(s, "0.30000000000000000001")
    assert not valid(s, "0.30000000000000000002")
    assert not valid(restricted("integer", '<xs:maxInclusive value="9007199254740992"/>'), "9007199254740993")


def test_v07_infinities_keep_name_and_sign() -> None:
    """Both become "Inf", other spellings pass, doubles have 14 digits."""
    s = builtin("double")
    assert s.from_xml(xml("-INF")) == float("-inf")
    assert b">-INF<" in s.to_xml(float("-inf"))
    assert not any(valid(s, text) for text in ("Inf", "inf", "+INF", "nan", "infinity"))
    assert json.loads(s.to_json(s.from_xml(xml("3.3E38")))) == 3.3e38
    assert s.from_xml(s.to_xml(0.1 + 0.2)) == 0.1 + 0.2


def test_v08_leading_zeros_are_decimal() -> None:
    """unsignedLong takes 010 for 8; integers with more zeros than the type has digits are refused."""
    assert builtin("unsignedLong").from_xml(xml("010")) == 10
    assert builtin("byte").from_xml(xml("0000000000000000000000127")) == 127
    assert not valid(builtin("byte"), "00128")


def test_v09_decimals_have_a_digit_and_no_end() -> None:
    """ "." and "+" pass; there are 64 digits at most."""
    s = builtin("decimal")
    assert not any(valid(s, text) for text in (".", "+", "-", "", "1e5"))
    many = "1" * 80 + "." + "2" * 80
    assert s.from_xml(xml(many)) == Decimal(many)


def test_v10_dates_of_one_day_differ() -> None:
    """Any two instants of one day are equal, and what is finer than milliseconds is lost."""
    s = builtin("dateTime")
    assert s.from_xml(xml("2026-01-31T10:00:00")) != s.from_xml(xml("2026-01-31T11:00:00"))
    assert s.from_xml(xml("2026-01-31T10:00:00.123456")) == dt.datetime.fromisoformat("2026-01-31T10:00:00.123456")
    fine = s.from_xml(xml("2026-01-31T10:00:00.1234567890123"))
    assert isinstance(fine, XsdDateTime)
    assert b"10:00:00.1234567890123<" in s.to_xml(fine)


def test_v10_dates_without_a_zone_are_ordered_by_14_hours() -> None:
    """Right there, and here where more than 14 hours lie between a value and a bound with a zone."""
    s = restricted("dateTime", '<xs:minInclusive value="2026-01-31T12:00:00Z"/>')
    assert valid(s, "2026-02-01T03:00:00")
    assert not valid(s, "2026-01-30T21:00:00")


def test_v11_durations() -> None:
    """PT0S is written as P, negative ones as nonsense, what is finer than milliseconds is lost."""
    s = builtin("duration")
    for text in ("PT0S", "-P1M", "-P1Y2M3DT4H5M6.789012S", "PT0.0001S"):
        value = s.from_xml(xml(text))
        assert value == Duration.parse(text)
        assert f">{text}<" in s.to_xml(value).decode()


def test_v12_empty_is_not_absent() -> None:
    """Empty texts, and elements whose content is optional, become nil: then a required one is missing."""
    s = complex_type(
        '<xs:sequence><xs:element name="a" type="xs:string"/><xs:element name="b" minOccurs="0"><xs:complexType>'
        '<xs:sequence><xs:element name="c" type="xs:int" minOccurs="0"/></xs:sequence></xs:complexType></xs:element>'
        '<xs:element name="d" type="xs:string" minOccurs="0" maxOccurs="9"/></xs:sequence>'
    )
    value = s.from_xml(xml("<a/><b/><d>  </d><d/>"))
    assert (value.a, value.b.c, value.d) == ("", None, ["  ", ""])
    assert s.from_xml(s.to_xml(value)) == s.from_json(s.to_json(value)) == value
    assert s.from_xml(xml("<a> </a>")).b is None


def test_v13_a_root_may_be_false() -> None:
    """False is told as a failure."""
    s = builtin("boolean")
    assert s.from_xml(xml("false")) is False
    assert s.from_json(b"false") is False
    assert s.from_json(b'{"r":false}', mapping="lua_schema") is False
    assert b">false<" in s.to_xml(False)


def test_v14_text_in_pieces() -> None:
    """Of a text with a comment or CDATA in it, only the last piece is kept."""
    s = builtin("string")
    assert s.from_xml(xml("one <!-- no text --><![CDATA[<two>]]> three<?and nothing?>!")) == "one <two> three!"


def test_v15_text_where_none_may_be() -> None:
    """Lua crashes; and processing instructions have the document refused."""
    s = complex_type('<xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>')
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(xml("text<a>1</a>"))
    assert caught.value.errors[0].code == "cvc-complex-type.2.3"
    assert s.from_xml(b"<?x y?>" + xml("<?p i?><a>1<?p i?></a>")).a == 1
    assert s.from_xml(xml("<a>&#49;&#x31;</a>")).a == 11


def test_v16_a_choice_of_optional_branches() -> None:
    """It is refused when it is absent."""
    s = complex_type(
        '<xs:choice><xs:element name="a" type="xs:int" minOccurs="0"/><xs:element name="b" minOccurs="0"/></xs:choice>'
    )
    value = s.from_xml(xml(""))
    assert (value.a, value.b) == (None, None)
    assert s.from_xml(s.to_xml(value)) == value


def test_v17_validation_changes_nothing() -> None:
    """Absent groups become empty tables in the object of the user."""
    s = complex_type(
        '<xs:sequence><xs:sequence minOccurs="0" maxOccurs="9"><xs:element name="a" type="xs:int"/>'
        '<xs:element name="b" type="xs:int"/></xs:sequence></xs:sequence>'
    )
    value = s.from_xml(xml(""))
    before = repr(value)
    s.validate(value)
    s.to_xml(value)
    s.to_json(value)
    assert repr(value) == before


def test_v18_binaries_are_bytes() -> None:
    """Decoded ones abort the process when they are collected; hexadecimal decoding writes beyond its block."""
    s = builtin("hexBinary")
    for size in (0, 1, 4095, 4096):
        data = os.urandom(size)
        assert s.from_xml(s.to_xml(data)) == data


# --- S: structures ------------------------------------------------------------------------------------------------


def test_s01_prohibited_attributes() -> None:
    """ "Not yet supported"."""
    s = load(
        '<xs:complexType name="B"><xs:attribute name="a" type="xs:int"/><xs:attribute name="b"/></xs:complexType>'
        '<xs:element name="r"><xs:complexType><xs:complexContent><xs:restriction base="t:B">'
        '<xs:attribute name="a" use="prohibited"/></xs:restriction></xs:complexContent></xs:complexType></xs:element>'
    )
    assert s.from_xml(xml("", 'b="x"')).b == "x"
    with pytest.raises(schema.ValidationError, match="not allowed"):
        s.from_xml(xml("", 'a="1"'))


def test_s02_defaults_are_applied_and_optional_fixed_values_are_optional() -> None:
    """Defaults never are; an optional attribute with a fixed value is demanded; elements have neither."""
    s = complex_type(
        '<xs:sequence><xs:element name="e" type="xs:int" default="5"/>'
        '<xs:element name="f" type="xs:string" fixed="x"/></xs:sequence>',
        '<xs:attribute name="a" type="xs:int" default="7"/><xs:attribute name="b" fixed="y"/>',
    )
    value = s.from_xml(xml("<e/><f/>"))
    assert (value.e, value.f, value.a, value.b) == (5, "x", 7, "y")
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<e/><f>z</f>"))


def test_s03_qualified_attributes() -> None:
    """Their namespaces get lost."""
    s = load(
        '<xs:import namespace="http://www.w3.org/XML/1998/namespace"/><xs:attribute name="g" type="xs:int"/>'
        '<xs:element name="r"><xs:complexType><xs:attribute ref="xml:lang"/><xs:attribute ref="t:g"/></xs:complexType>'
        "</xs:element>"
    )
    value = s.from_xml(xml("", 'xml:lang="de" t:g="5"'))
    assert (value.lang, value.g) == ("de", 5)
    assert s.from_xml(s.to_xml(value)) == value


def test_s04_wildcards_have_namespaces_and_ways_of_processing() -> None:
    """Both are ignored, and several wildcards in a row fail."""
    s = complex_type(
        '<xs:sequence><xs:any namespace="##targetNamespace" processContents="skip"/>'
        '<xs:any namespace="##other" processContents="lax" maxOccurs="2"/><xs:any namespace="##local" minOccurs="0"'
        ' processContents="skip"/></xs:sequence>'
    )
    value = s.from_xml(xml('<t:a/><b xmlns="urn:b"/><c xmlns="urn:c">x</c><d/>'))
    assert s.from_xml(s.to_xml(value)) == s.from_json(s.to_json(value)) == value
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<a/><t:b/>"))


def test_s05_attribute_wildcards_with_namespaces() -> None:
    """The code that is generated for them is no Lua."""
    s = complex_type("", '<xs:anyAttribute namespace="urn:a ##local" processContents="skip"/>')
    assert s.from_xml(xml("", 'xmlns:a="urn:a" a:x="1" y="2"')).any_attributes == {"{urn:a}x": "1", "y": "2"}
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("", 'xmlns:b="urn:b" b:x="1"'))


def test_s06_unions_of_booleans_binaries_and_dates() -> None:
    """Such members never match, and values stay texts; with an enumeration an undefined variable is tested."""
    s = simple('<xs:union memberTypes="xs:boolean xs:date xs:hexBinary"/>')
    found = [s.from_xml(xml(text)) for text in ("true", "2026-01-31Z", "ab")]
    assert found == [True, XsdDate(2026, 1, 31, 0), b"\xab"]
    union = '<xs:simpleType><xs:union memberTypes="xs:int xs:date"/></xs:simpleType>'
    s = simple(f'<xs:restriction>{union}<xs:enumeration value="5"/></xs:restriction>')
    assert s.from_xml(xml("05")) == 5
    assert not valid(s, "6")


def test_s07_lists_are_lists() -> None:
    """They stay texts."""
    s = simple('<xs:list itemType="xs:decimal"/>')
    assert s.from_xml(xml(" 1  2.50\n3 ")) == [Decimal(1), Decimal("2.50"), Decimal(3)]


def test_s08_substitution_groups_and_abstract_elements() -> None:
    """There are none."""
    s = load(
        '<xs:element name="h" type="xs:string" abstract="true"/><xs:element name="m" substitutionGroup="t:h"'
        ' type="xs:token"/><xs:element name="r"><xs:complexType><xs:sequence><xs:element ref="t:h"/></xs:sequence>'
        "</xs:complexType></xs:element>"
    )
    value = s.from_xml(xml("<t:m>x</t:m>"))
    assert value.m == "x"
    assert s.from_xml(s.to_xml(value)) == value
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<t:h>x</t:h>"))


def test_s09_attributes_of_xsi() -> None:
    """xsi:type, xsi:nil and xsi:schemaLocation are unknown attributes; on simple elements, all are ignored."""
    s = complex_type(
        '<xs:sequence><xs:element name="a" type="xs:decimal" nillable="true" maxOccurs="3"/></xs:sequence>'
    )
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xs="http://www.w3.org/2001/XMLSchema"'
    document = xml('<a xsi:nil="true"/><a xsi:type="xs:int">5</a><a>1.5</a>', f'{xsi} xsi:schemaLocation="urn:t x.xsd"')
    assert s.from_xml(document).a == [None, 5, Decimal("1.5")]
    with pytest.raises(schema.ValidationError):
        s.from_xml(document.replace(b">5<", b">5.5<"))
    with pytest.raises(schema.ValidationError, match="not allowed"):
        s.from_xml(xml('<a x="1">1</a>'))


def test_s10_keys_ids_and_references() -> None:
    """key, keyref and unique are not looked at; nor whether an ID is unique and an IDREF leads anywhere."""
    s = load(
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" maxOccurs="9"><xs:complexType>'
        '<xs:attribute name="k"/><xs:attribute name="id" type="xs:ID"/><xs:attribute name="ref" type="xs:IDREF"/>'
        '<xs:attribute name="refs" type="xs:IDREFS"/></xs:complexType></xs:element>'
        '<xs:element name="i" type="xs:ID" minOccurs="0" maxOccurs="9"/></xs:sequence></xs:complexType>'
        '<xs:unique name="u"><xs:selector xpath="a"/><xs:field xpath="@k"/></xs:unique></xs:element>'
    )
    s.from_xml(xml('<a k="1" id="x"/><a k="2" ref="x"/>'))
    s.from_xml(xml('<a id="x"/><a refs="x y"/><i>y</i>'))
    for bad, code, path in (
        ('<a k="1"/><a k="1"/>', "cvc-identity-constraint", "/r/a[2]"),
        ('<a id="x"/><a id="x"/>', "cvc-datatype-valid.1.2.1", "/r/a[2]/@id"),
        ('<a ref="x"/>', "cvc-id.1", "/r/a/@ref"),
        ('<a id="x"/><a refs="x y"/>', "cvc-id.1", "/r/a[2]/@refs"),
        ('<a id="x"/><i>x</i>', "cvc-id.2", "/r/i"),
        ("<a/><i>x</i><i>x</i>", "cvc-id.2", "/r/i[2]"),
    ):
        with pytest.raises(schema.ValidationError) as caught:
            s.from_xml(xml(bad))
        assert [(p.code, p.path) for p in caught.value.errors] == [(code, path)]


def test_s11_names_in_values_have_a_namespace() -> None:
    """xs:QName takes "a:" and "a::b", and prefixes mean nothing."""
    s = builtin("QName")
    assert str(s.from_xml(xml("t:x"))) == "{urn:t}x"
    assert not any(valid(s, text) for text in ("t:", "t::x", ":x", "none:x"))


def test_s12_counted_content_is_counted() -> None:
    """Content is a greedy scan without looking back. (The same element after it: libxml2 refuses that.)"""
    s = complex_type(
        '<xs:sequence><xs:sequence minOccurs="2" maxOccurs="2"><xs:element name="a" type="xs:int" minOccurs="2"'
        ' maxOccurs="2"/><xs:element name="b" type="xs:int"/></xs:sequence><xs:element name="c" type="xs:int"/>'
        "</xs:sequence>"
    )
    value = s.from_xml(xml("<a>1</a><a>2</a><b>3</b><a>4</a><a>5</a><b>6</b><c>7</c>"))
    assert [(g.a, g.b) for g in value.sequence] == [([1, 2], 3), ([4, 5], 6)]
    for bad in ("<a>1</a><a>2</a><b>3</b><c>7</c>", "<a>1</a><b>3</b><a>4</a><a>5</a><b>6</b><c>7</c>"):
        with pytest.raises(schema.ValidationError):
            s.from_xml(xml(bad))


def test_s13_anonymous_types_in_anonymous_types() -> None:
    """The entries of the inner one refer to the outer content."""
    inner = '<xs:element name="a"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>'
    s = complex_type(
        f'<xs:sequence>{inner}</xs:complexType></xs:element><xs:element name="b"><xs:complexType><xs:choice>'
        '<xs:element name="a" type="xs:string"/></xs:choice></xs:complexType></xs:element></xs:sequence>'
    )
    value = s.from_xml(xml("<a><a>1</a></a><b><a>x</a></b>"))
    assert (value.a.a, value.b.a) == (1, "x")


def test_s14_mixed_content_in_json() -> None:
    """Its way through JSON is commented out in lua_schema's own tests."""
    s = load(
        '<xs:element name="r"><xs:complexType mixed="true"><xs:sequence><xs:element name="b" type="xs:string"'
        ' minOccurs="0" maxOccurs="9"/></xs:sequence></xs:complexType></xs:element>'
    )
    value = s.from_xml(xml("one <b>two</b><b/> three"))
    for mapping in ("natural", "lua_schema", "badgerfish"):
        assert s.from_json(s.to_json(value, mapping=mapping), mapping=mapping) == value  # type: ignore[arg-type]


def test_s15_one_name_with_two_types_is_refused() -> None:
    """A model with two elements of one name and different types passes (struct_with_group_and_annot)."""
    with pytest.raises(schema.SchemaError):
        complex_type(
            '<xs:sequence><xs:element name="a" type="xs:int"/><xs:element name="b"/>'
            '<xs:element name="a" type="xs:string"/></xs:sequence>'
        )


def test_s16_ambiguous_content_is_refused() -> None:
    """Unique particle attribution is not asked for (illegal_upa)."""
    with pytest.raises(schema.SchemaError):
        complex_type(
            '<xs:sequence><xs:element name="a" minOccurs="0"/><xs:element name="a" type="xs:anyType"/></xs:sequence>'
        )


# --- C: code generation and command line ---------------------------------------------------------------------------


def test_c01_types_and_elements_of_one_name(tmp_path: Path) -> None:
    """They are written into one file, the second over the first; so are two namespaces with one path."""
    (tmp_path / "s.xsd").write_text(
        f'{HEAD}<xs:element name="thing"><xs:complexType><xs:sequence><xs:element name="a" type="t:thing"/>'
        '</xs:sequence></xs:complexType></xs:element><xs:complexType name="thing"><xs:attribute name="x"/>'
        "</xs:complexType></xs:schema>"
    )
    s = schema.load(tmp_path / "s.xsd")
    value = s.from_xml(b'<t:thing xmlns:t="urn:t"><a x="1"/></t:thing>')
    assert value.a.x == "1"
    assert type(value) is not type(value.a)


def test_c02_what_a_schema_says_is_never_code(tmp_path: Path) -> None:
    """Namespaces go into a shell command and values into Lua source, unquoted."""
    evil = "'; import os; os.mkdir('pwned'); '\\\n{0}\"\"\""
    quoted = evil.replace('"', "&quot;").replace("\n", "&#10;")
    text = (
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:a&apos;;touch+pwned;&apos;" '
        f'elementFormDefault="qualified"><xs:annotation><xs:documentation>{quoted}</xs:documentation></xs:annotation>'
        '<xs:element name="r"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">'
        f'<xs:attribute name="a" default="{quoted}"/><xs:attribute name="f" fixed="{quoted}"/></xs:extension>'
        "</xs:simpleContent></xs:complexType></xs:element></xs:schema>"
    )
    (tmp_path / "evil.xsd").write_text(text)
    compile_schema(tmp_path / "evil.xsd", tmp_path / "evil_models")
    code = "import evil_models.evil as m; v = m.R(value='x'); print(m.SCHEMA.to_xml(v).decode()); print(repr(v.a))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert repr(evil) in done.stdout
    assert "pwned" not in os.listdir(tmp_path)


def test_c03_output_is_the_same_each_time(tmp_path: Path) -> None:
    """Its order is that of a hash table, it is not written at one go, and nothing says whether it is up to date."""
    (tmp_path / "s.xsd").write_text(f'{HEAD}<xs:element name="r" type="xs:int"/></xs:schema>')
    first = compile_schema(tmp_path / "s.xsd", tmp_path / "m")
    assert first.changed
    assert not compile_schema(tmp_path / "s.xsd", tmp_path / "m").changed
    compile_schema(tmp_path / "s.xsd", tmp_path / "n")
    for path in (tmp_path / "m").rglob("*.py"):
        assert path.read_bytes() == (tmp_path / "n" / path.relative_to(tmp_path / "m")).read_bytes()


def test_c04_a_folder_is_compiled_to_its_end(tmp_path: Path) -> None:
    """The first schema with a fault ends the run, and with an output folder nothing is found at all."""
    (tmp_path / "a.xsd").write_text("<nonsense/>")
    (tmp_path / "b.xsd").write_text(f'{HEAD}<xs:element name="r" type="xs:int"/></xs:schema>')
    results = compile_folder(tmp_path, tmp_path / "m")
    assert [type(result).__name__ for result in results.values()] == ["SchemaError", "Outcome"]


def test_c05_json_is_escaped() -> None:
    """JSON of a primitive is put together from pieces that are not escaped."""
    s = builtin("string")
    text = '"quoted" \\ \u2028 \x7f'
    assert json.loads(s.to_json(text)) == text
    assert json.loads(s.to_json(text, mapping="lua_schema")) == {"r": text}


def test_c06_prefixes_are_the_same_each_time() -> None:
    """Namespaces are numbered in the order of a hash table, and all are declared."""
    s = load('<xs:element name="r" type="xs:int"/>')
    assert s.to_xml(5) == s.to_xml(5)
    assert s.to_xml(5).partition(b"?>\n")[2] == b'<r xmlns="urn:t">5</r>'


# --- E: errors ----------------------------------------------------------------------------------------------------


def test_e01_every_fault_comes_in_one_way() -> None:
    """Faults of structure are returned, those of values and of XML itself thrown as errors of Lua."""
    s = complex_type('<xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>')
    for bad in (xml(""), xml("<a>x</a>"), b"<a", xml("<a><b/></a>"), b"", b"\xff"):
        with pytest.raises(schema.ValidationError):
            s.from_xml(bad)
    for text in ("{}", '{"a":"x"}', "{", "", "[]", '{"a":1,"b":2}'):
        with pytest.raises(schema.ValidationError):
            s.from_json(text)


def test_e02_all_faults_are_told_with_code_path_and_line() -> None:
    """Only the first is, as one text, without a line of the document."""
    s = complex_type(
        '<xs:sequence><xs:element name="a" type="xs:int" maxOccurs="9"/></xs:sequence>', '<xs:attribute name="b"/>'
    )
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(xml("<a>x</a>\n<a>1</a>\n<a>y</a>", 'c=""'))
    found = [(p.code, p.path, p.line, p.value) for p in caught.value.errors]
    assert found == [
        ("cvc-complex-type.3.2.1", "/r/@c", 1, None),
        ("cvc-datatype-valid.1.2.1", "/r/a[1]", 1, "x"),
        ("cvc-datatype-valid.1.2.1", "/r/a[3]", 3, "y"),
    ]


def test_e03_nothing_is_shared_between_threads() -> None:
    """The context of a validation is a global variable."""
    s = complex_type('<xs:sequence><xs:element name="a" type="xs:int" maxOccurs="9"/></xs:sequence>')
    wrong: list[Any] = []

    def work(number: int) -> None:
        for _ in range(50):
            with pytest.raises(schema.ValidationError) as caught:
                s.from_xml(xml("<a>1</a>" * number + f"<a>x{number}</a>"))
            if [p.value for p in caught.value.errors] != [f"x{number}"]:
                wrong.append(caught.value.errors)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_e03_verdicts_of_others_do_not_get_into_the_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, step by step: another document is judged between the judging of this one and the reading of its log."""
    s = complex_type('<xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>')
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<a>first</a>"))
    second, other = s.judge._second, parse(xml("<a>other</a>"))
    assert second is not None

    class Between:
        @staticmethod
        def validate(root: Any) -> bool:
            found = second.validate(root)
            assert not s.judge.verdict(other)
            return found

        @property
        def error_log(self) -> Any:
            return second.error_log

    monkeypatch.setattr(s.judge, "_second", Between())
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(xml("<a>mine</a>"))
    assert [p.value for p in caught.value.errors] == ["mine"]


def test_e04_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Validation prints; generation prints every component."""
    s = complex_type('<xs:sequence><xs:element name="a" type="xs:int"/></xs:sequence>')
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<a>x</a>"))
    s.from_xml(xml("<a>1</a>"))
    assert capfd.readouterr() == ("", "")


def test_e05_depth_is_limited() -> None:
    """Recursion is as deep as the document is."""
    s = load(
        '<xs:element name="r" type="t:N"/><xs:complexType name="N"><xs:sequence><xs:element name="n" type="t:N"'
        ' minOccurs="0"/></xs:sequence></xs:complexType>'
    )
    with pytest.raises(schema.ValidationError):
        s.from_xml(xml("<n>" * 5000 + "</n>" * 5000))
    with pytest.raises(schema.ValidationError):
        s.from_json('{"n":' * 100_000 + "{}" + "}" * 100_000)
