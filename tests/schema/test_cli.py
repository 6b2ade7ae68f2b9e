"""The command line: exit codes, and every fault in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

import schema
from schema.cli import main

XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="order"><xs:complexType><xs:sequence>
  <xs:element name="size"><xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="[A-Z]{2}\\d{2,4}|x"/>
  </xs:restriction></xs:simpleType></xs:element>
  <xs:choice maxOccurs="unbounded"><xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:date"/></xs:choice>
  <xs:element name="kind" minOccurs="0"><xs:simpleType><xs:restriction base="xs:string"><xs:enumeration value="k"/>
  </xs:restriction></xs:simpleType></xs:element></xs:sequence><xs:attribute name="id" type="xs:ID" use="required"/>
  </xs:complexType></xs:element></xs:schema>"""
GOOD = '<order id="i"><size>AB12</size><a>1</a></order>'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("order.xsd").write_text(XSD)
    Path("good.xml").write_text(GOOD)
    Path("bad.xml").write_text(GOOD.replace("<a>1<", "<a>x<"))
    Path("broken.xsd").write_text(XSD.replace("xs:int", "xs:nonsense"))
    return tmp_path


def test_validate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "order.xsd", "good.xml"]) == 0
    assert capsys.readouterr().out == "good.xml: valid\n"
    assert main(["validate", "order.xsd", "bad.xml", "good.xml"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bad.xml: line 1 /order/a: 'x' is not a valid value")
    assert lines[-1] == "good.xml: valid"


def test_convert_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "order.xsd", "good.xml", "-o", "good.json"]) == 0
    assert Path("good.json").read_text() == '{"@id":"i","size":"AB12","choice":[{"a":1}]}'
    assert main(["validate", "order.xsd", "good.json"]) == 0
    assert main(["convert", "order.xsd", "good.json"]) == 0
    assert GOOD in capsys.readouterr().out
    assert main(["convert", "order.xsd", "bad.xml"]) == 1


@pytest.mark.parametrize("name", ["broken.xsd", "missing.xsd", "good.xml"])
def test_a_schema_at_fault(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", name, "good.xml"]) == 2
    message = capsys.readouterr().err
    assert name in message
    assert "Traceback" not in message


def test_a_missing_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "order.xsd", "none.xml"]) == 2
    assert capsys.readouterr().err == "evschema: none.xml: No such file or directory\n"


def test_compile_and_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "order.xsd", "-o", "models", "--check"]) == 1
    assert main(["compile", "order.xsd", "-o", "models"]) == 0
    assert Path("models/order.py").exists()
    assert main(["compile", "order.xsd", "-o", "models", "--check"]) == 0
    assert "up to date" in capsys.readouterr().out
    assert main(["compile", "broken.xsd", "-o", "models"]) == 2
    assert main(["compile", ".", "-o", "all"]) == 2  # one is broken, the other one is made
    assert Path("all/order.py").exists()


def test_sample_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    s = schema.load("order.xsd")
    assert main(["sample", "order.xsd"]) == 0
    s.validate_xml(capsys.readouterr().out.encode())
    assert main(["sample", "order.xsd", "--json"]) == 0
    s.validate_json(capsys.readouterr().out)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "order.xsd"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "order: Order",
        "  @id: ID",
        "  size: string (/[A-Z]{2}\\d{2,4}|x/)",
        "  group+",
        "    one of",
        "      a: int",
        "      b: date",
        "  kind?: string (k)",
    ]
