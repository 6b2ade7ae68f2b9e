"""Gathering: nothing from a network, nothing silently left out, nothing with a DOCTYPE."""

from __future__ import annotations

from pathlib import Path

import pytest

import schema

HEAD = '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:a="urn:a" xmlns:b="urn:b" '


def write(folder: Path, name: str, body: str, attributes: str = "") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{attributes}>{body}</xs:schema>")
    return path


@pytest.mark.parametrize(
    ("link", "code", "says"),
    [
        ('<xs:include schemaLocation="none.xsd"/>', "schema-unreachable", "cannot read"),
        ('<xs:import namespace="urn:b" schemaLocation="none.xsd"/>', "schema-unreachable", "cannot read"),
        ('<xs:import namespace="urn:b" schemaLocation="http://127.0.0.1:9/b.xsd"/>', "schema-unreachable", "network"),
        ('<xs:include schemaLocation="ftp://127.0.0.1/b.xsd"/>', "schema-unreachable", "network"),
        ('<xs:include schemaLocation="text.xsd"/>', "schema-invalid", "no well-formed XML"),
        ('<xs:include schemaLocation="evil.xsd"/>', "doctype-refused", "DOCTYPE"),
        ('<xs:element name="e"><xs:complexType><xs:assert test="1"/></xs:complexType></xs:element>',
         "schema-unsupported", "1.1"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, link: str, code: str, says: str) -> None:
    (tmp_path / "text.xsd").write_text("no schema")
    (tmp_path / "evil.xsd").write_text(f'<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]>{HEAD}>&e;</xs:schema>')
    path = write(tmp_path, "main.xsd", link + '<xs:element name="r" type="xs:int"/>')
    with pytest.raises(schema.SchemaError) as caught:
        schema.load(path)
    problem = caught.value.errors[0]
    assert problem.code == code
    assert says in problem.message
    assert problem.source is not None
    assert problem.source.endswith(".xsd")


def test_only_allowed_folders_are_read(tmp_path: Path) -> None:
    write(tmp_path, "outside.xsd", '<xs:simpleType name="T"><xs:restriction base="xs:int"/></xs:simpleType>')
    body = '<xs:include schemaLocation="../outside.xsd"/><xs:element name="r" type="T"/>'
    path = write(tmp_path / "in", "main.xsd", body)
    assert schema.load(path).from_xml(b"<r>5</r>") == 5
    with pytest.raises(schema.SchemaError, match="outside of the allowed folders"):
        schema.load(path, allow=[tmp_path / "in"])


def test_cycles_chameleons_and_several_documents_of_a_namespace(tmp_path: Path) -> None:
    write(tmp_path, "c.xsd", '<xs:simpleType name="C"><xs:restriction base="xs:int"/></xs:simpleType>')
    write(
        tmp_path, "b1.xsd",
        '<xs:import namespace="urn:a" schemaLocation="main.xsd"/><xs:include schemaLocation="c.xsd"/>'
        '<xs:element name="one" type="b:C"/>', 'targetNamespace="urn:b"',
    )  # fmt: skip
    write(tmp_path, "b2.xsd", '<xs:element name="two" type="xs:int"/>', 'targetNamespace="urn:b"')
    path = write(
        tmp_path, "main.xsd",
        '<xs:import namespace="urn:b" schemaLocation="b1.xsd"/><xs:import namespace="urn:b" schemaLocation="b2.xsd"/>'
        '<xs:element name="r"><xs:complexType><xs:sequence><xs:element ref="b:one"/><xs:element ref="b:two"/>'
        "</xs:sequence></xs:complexType></xs:element>", 'targetNamespace="urn:a"',
    )  # fmt: skip
    s = schema.load(path)
    value = s.from_xml(b'<r xmlns="urn:a"><one xmlns="urn:b">1</one><two xmlns="urn:b">2</two></r>')
    assert (value.one, value.two) == (1, 2)
    assert s.from_xml(s.to_xml(value)) == value


def test_a_local_copy_of_what_is_on_the_network(tmp_path: Path) -> None:
    copy = write(tmp_path, "copy.xsd", '<xs:element name="one" type="xs:int"/>', 'targetNamespace="urn:b"')
    body = (
        '<xs:import namespace="urn:b" schemaLocation="http://example.org/b.xsd"/><xs:element name="r" type="xs:int"/>'
    )
    path = write(tmp_path, "main.xsd", body)
    for key in ("urn:b", "http://example.org/b.xsd"):
        assert schema.load(path, locations={key: copy}).from_xml(b"<r>1</r>") == 1
