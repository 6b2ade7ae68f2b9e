"""What a schema can say beyond plain sequences: from XML to objects and back, nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

import schema

HEAD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:t" targetNamespace="urn:t"
    elementFormDefault="qualified">"""


def load(body: bytes, **options: Any) -> schema.Schema:
    return schema.load(HEAD + body + b"</xs:schema>", **options)


def there_and_back(s: schema.Schema, document: bytes, root: str | None = None) -> Any:
    value = s.from_xml(document)
    again = s.to_xml(value, root=root)
    assert s.from_xml(again) == value, again
    text = s.to_json(value, root=root)
    assert s.from_json(text, root=root) == value, text
    return value


def doc(content: str, name: str = "r", attributes: str = "") -> bytes:
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    return f'<{name} xmlns="urn:t" xmlns:t="urn:t" {xsi} {attributes}>{content}</{name}>'.encode()


def test_repeated_choice_keeps_the_order() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:choice minOccurs="0" maxOccurs="unbounded">
        <xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:string"/>
      </xs:choice></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("<a>1</a><b>x</b><b/><a>2</a>"))
    assert [(c.a, c.b) for c in value.choice] == [(1, None), (None, "x"), (None, ""), (2, None)]


def test_repeated_sequences_nest() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence>
        <xs:sequence maxOccurs="3"><xs:element name="a" type="xs:int"/>
          <xs:choice maxOccurs="unbounded"><xs:element name="b" type="xs:int"/>
            <xs:sequence><xs:element name="c" type="xs:int"/>
              <xs:element name="d" type="xs:int" minOccurs="0"/></xs:sequence>
          </xs:choice></xs:sequence>
        <xs:element name="z" type="xs:int" minOccurs="0"/>
      </xs:sequence></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("<a>1</a><b>2</b><c>3</c><d>4</d><c>5</c><a>6</a><b>7</b><a>8</a><b>9</b><z>10</z>"))
    assert [g.a for g in value.sequence] == [1, 6, 8]
    assert value.z == 10
    assert [(c.b, c.c, c.d) for c in value.sequence[0].choice] == [(2, None, None), (None, 3, 4), (None, 5, None)]


def test_nil_absent_and_empty_differ() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence>
        <xs:element name="a" type="xs:string" nillable="true" minOccurs="0"/>
        <xs:element name="b" type="xs:int" nillable="true" maxOccurs="unbounded"/>
        <xs:element name="c" nillable="true" minOccurs="0"><xs:complexType>
          <xs:sequence><xs:element name="d" type="xs:int"/></xs:sequence><xs:attribute name="e" type="xs:int"/>
        </xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>""")
    value = there_and_back(s, doc('<a xsi:nil="true"/><b>1</b><b xsi:nil="1"/>'))
    assert (value.a, value.b, value.c) == (None, [1, None], UNSET)
    value = there_and_back(s, doc('<a/><b>1</b><c xsi:nil="true"/>'))
    assert (value.a, value.c) == ("", None)
    value = there_and_back(s, doc('<b>1</b><c e="5" xsi:nil="true"/>'))
    assert (value.a, value.c.nil, value.c.e, value.c.d) == (UNSET, True, 5, None)
    value = there_and_back(s, doc('<b>1</b><c e="5"><d>6</d></c>'))
    assert (value.c.nil, value.c.d) == (False, 6)


DERIVED = b"""<xs:complexType name="Base" {abstract}><xs:sequence>
      <xs:element name="a" type="xs:int"/></xs:sequence></xs:complexType>
    <xs:complexType name="More"><xs:complexContent><xs:extension base="Base"><xs:sequence>
      <xs:element name="b" type="xs:int"/></xs:sequence></xs:extension></xs:complexContent></xs:complexType>
    <xs:element name="r"><xs:complexType><xs:sequence>
      <xs:element name="x" type="Base" maxOccurs="unbounded"/></xs:sequence></xs:complexType></xs:element>"""


def test_xsi_type() -> None:
    s = load(DERIVED.replace(b"{abstract}", b""))
    value = there_and_back(
        s, doc('<x><a>1</a></x><x xsi:type="t:More"><a>2</a><b>3</b></x><x xsi:type="Base"><a>4</a></x>')
    )
    assert [type(x).__name__ for x in value.x] == ["Base", "More", "Base"]
    assert value.x[1].b == 3


def test_abstract_type() -> None:
    s = load(DERIVED.replace(b"{abstract}", b'abstract="true"'))
    value = there_and_back(s, doc('<x xsi:type="More"><a>2</a><b>3</b></x>'))
    assert value.x[0].b == 3
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(doc("<x><a>1</a></x>"))
    assert caught.value.errors[0].path == "/r/x"


@pytest.mark.parametrize("occurs", ["", 'maxOccurs="unbounded"'])
def test_substitution_group(occurs: str) -> None:
    s = load(
        f"""<xs:element name="head" type="xs:string" abstract="true"/>
      <xs:element name="one" type="xs:string" substitutionGroup="head"/>
      <xs:element name="two" type="xs:token" substitutionGroup="one"/>
      <xs:element name="r"><xs:complexType><xs:sequence><xs:element ref="head" {occurs}/>
        <xs:element name="z" type="xs:int"/></xs:sequence></xs:complexType></xs:element>""".encode()
    )
    if occurs:
        value = there_and_back(s, doc("<two>x</two><one> y </one><z>1</z>"), root="r")
        assert [(c.one, c.two) for c in value.choice] == [(None, "x"), (" y ", None)]
    else:
        value = there_and_back(s, doc("<two>x</two><z>1</z>"), root="r")
        assert (value.one, value.two, value.z) == (None, "x", 1)


def test_mixed_content() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType mixed="true"><xs:choice minOccurs="0" maxOccurs="unbounded">
        <xs:element name="b" type="xs:string"/><xs:element name="n" type="xs:int"/>
      </xs:choice><xs:attribute name="id" type="xs:ID"/></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("one <b>two</b> &lt;three&gt;<n>4</n><!-- no text -->five", attributes='id="i"'))
    assert [x if isinstance(x, str) else (x.b, x.n) for x in value.content] == [
        "one ", ("two", None), " <three>", (None, 4), "five",
    ]  # fmt: skip
    assert value.id == "i"


def test_wildcards() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence>
        <xs:element name="a" type="xs:int"/>
        <xs:any namespace="##other" processContents="lax" minOccurs="0" maxOccurs="unbounded"/>
        <xs:element name="b" type="xs:int"/>
      </xs:sequence><xs:anyAttribute namespace="##any" processContents="skip"/></xs:complexType></xs:element>""")
    other = '<o:x xmlns:o="urn:o" k="o:T" o:k="2">t<o:y/>u<n xmlns="">&amp;</n></o:x><p xmlns="urn:p"/>'
    value = there_and_back(s, doc(f"<a>1</a>{other}<b>2</b>", attributes='q="&lt;&quot;" t:w="v" xml:lang="en"'))
    assert [x.name for x in value.any_elements] == ["{urn:o}x", "{urn:p}p"]
    assert value.any_elements[0].content[0] == "t"
    assert value.any_elements[0].namespaces["o"] == "urn:o"
    assert value.any_attributes == {"q": '<"', "{urn:t}w": "v", "{http://www.w3.org/XML/1998/namespace}lang": "en"}


def test_all_in_any_order() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:all>
        <xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:int" minOccurs="0"/>
        <xs:element name="c" type="xs:int"/>
      </xs:all></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("<c>3</c><a>1</a>"))
    assert (value.a, value.b, value.c) == (1, None, 3)


def test_names_in_values() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence>
        <xs:element name="q" type="xs:QName" maxOccurs="unbounded"/></xs:sequence>
        <xs:attribute name="n" type="xs:QName"/>
        </xs:complexType></xs:element>""")
    value = there_and_back(s, doc('<q>x</q><q xmlns:o="urn:o">o:y</q>', attributes='n="t:z"'))
    assert [str(q) for q in value.q] == ["{urn:t}x", "{urn:o}y"]
    assert str(value.n) == "{urn:t}z"


def test_defaults_and_fixed_values() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence>
        <xs:element name="a" type="xs:int" default="7"/><xs:element name="b" type="xs:token" fixed="f"/>
        </xs:sequence><xs:attribute name="c" type="xs:decimal" default="1.50"/><xs:attribute name="d" type="xs:boolean"
        fixed="true"/></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("<a/><b/>"))
    assert (value.a, value.b, str(value.c), value.d) == (7, "f", "1.50", True)


def test_attributes_of_other_namespaces() -> None:
    s = load(b"""<xs:import namespace="http://www.w3.org/XML/1998/namespace"/>
      <xs:attribute name="g" type="xs:int"/>
      <xs:element name="r"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">
        <xs:attribute ref="xml:lang" use="required"/><xs:attribute ref="g"/>
      </xs:extension></xs:simpleContent></xs:complexType></xs:element>""")
    value = there_and_back(s, doc("text", attributes='xml:lang="en" t:g="5"'))
    assert (value.lang, value.g, value.value) == ("en", 5, "text")


def test_any_type() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a"/></xs:sequence></xs:complexType>
      </xs:element>""")
    value = there_and_back(s, doc('<a k="1">x<b xmlns="urn:o">y</b></a>'))
    assert value.a.attributes == {"k": "1"}
    assert value.a.text == "xy"


def test_an_object_of_a_wrong_type_cannot_leave() -> None:
    s = load(b"""<xs:element name="r"><xs:complexType><xs:sequence><xs:element name="a" type="xs:int" maxOccurs="2"/>
      </xs:sequence></xs:complexType></xs:element>""")
    value = s.from_xml(doc("<a>1</a>"))
    value.a = ["1</a><a>2"]
    with pytest.raises(schema.ValidationError):
        s.to_xml(value)
    value.a = [2**40]
    with pytest.raises(schema.ValidationError) as caught:
        s.to_xml(value)
    assert caught.value.errors[0].path == "/r/a"


def test_a_root_of_any_type() -> None:
    s = load(b'<xs:element name="r"/><xs:element name="other" type="xs:int"/>')
    data = b'<t:r xmlns:t="urn:t" a="1">text<b xmlns="urn:b">x</b></t:r>'
    value = s.from_xml(data)
    assert s.from_xml(s.to_xml(value, root="r")) == value == s.from_json(s.to_json(value, root="r"), root="r")
    value.content[0] = "a\0b"
    with pytest.raises(schema.ValidationError, match="not-well-formed"):
        s.to_xml(value, root="r")
