"""Compiled packages: complete, deterministic, incremental, and free of what the schema's text could smuggle in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import schema
from schema.codegen.package import Outcome, compile_folder, compile_schema

ORDER = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:order" targetNamespace="urn:order"
    elementFormDefault="qualified">
  <xs:include schemaLocation="parts/item.xsd"/>
  <xs:element name="order"><xs:annotation><xs:documentation>What is ordered. EVIL</xs:documentation>
    </xs:annotation><xs:complexType><xs:sequence><xs:element name="item" type="Item" maxOccurs="unbounded"/>
      </xs:sequence>
      <xs:attribute name="from" type="xs:string" default="it's &quot;{me}&quot;\\"/></xs:complexType></xs:element>
</xs:schema>""".replace("EVIL", '\\""" {x} \' \\')
ITEM = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
  <xs:complexType name="Item"><xs:sequence><xs:element name="class" type="xs:string"/>
    <xs:element name="price" type="xs:decimal" minOccurs="0"/></xs:sequence></xs:complexType></xs:schema>"""
DOCUMENT = b'<order xmlns="urn:order"><item><class>a</class><price>1.50</price></item></order>'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in" / "parts").mkdir(parents=True)
    (tmp_path / "in" / "parts" / "item.xsd").write_text(ITEM)
    path = tmp_path / "in" / "order.xsd"
    path.write_text(ORDER)
    return path


def run(folder: Path, code: str) -> str:
    """Runs code in a fresh interpreter that sees ``folder``."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def everything(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_package_stands_alone(source: Path, tmp_path: Path) -> None:
    outcome = compile_schema(source, tmp_path / "models")
    assert outcome.module == tmp_path / "models" / "order.py"
    assert (tmp_path / "models" / "py.typed").exists()
    for path in source.parent.rglob("*.xsd"):
        path.unlink()
    code = f"""
import sys
from models.order import SCHEMA, Item, Order
order = SCHEMA.from_xml({DOCUMENT!r})
assert type(order) is Order and type(order.item[0]) is Item
print(order.item[0].class_, order.item[0].price, order.from_)
assert SCHEMA.from_xml(SCHEMA.to_xml(order)) == order
assert SCHEMA.plan.roots["{{urn:order}}order"].main
print("xmlschema" in sys.modules)
"""
    assert run(tmp_path, code).splitlines() == ['a 1.50 it\'s "{me}"\\', "False"]


def test_a_second_run_writes_nothing_and_another_writes_the_same(source: Path, tmp_path: Path) -> None:
    assert compile_schema(source, tmp_path / "one").changed
    assert compile_schema(source, tmp_path / "one").changed == ()
    code = (
        f"from schema.codegen.package import compile_schema; compile_schema({str(source)!r}, {str(tmp_path / 'two')!r})"
    )
    run(tmp_path, code)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_check_says_what_is_stale_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    compile_schema(source, out)
    assert compile_schema(source, out, check=True).changed == ()
    before = everything(out)
    (source.parent / "parts" / "item.xsd").write_text(ITEM.replace('"price"', '"cost"'))
    stale = {path.name for path in compile_schema(source, out, check=True).changed}
    assert {"order.py", "xml_reader.py", "manifest.json"} <= stale
    assert everything(out) == before
    compile_schema(source, out)
    assert "cost: Decimal | None" in (out / "order.py").read_text()
    (out / "order.py").write_text("# mine\n")
    assert compile_schema(source, out, check=True).changed == (out / "order.py",)


def test_a_folder(source: Path, tmp_path: Path) -> None:
    (source.parent / "broken.xsd").write_text(ITEM.replace("xs:sequence", "xs:series"))
    (source.parent / "base.xsd").write_text(ITEM)
    (source.parent / "order.xsd").write_text(ORDER.replace("parts/item.xsd", "base.xsd"))
    results = compile_folder(source.parent, tmp_path / "models")
    assert {path.name: type(result) for path, result in results.items()} == {
        "broken.xsd": schema.SchemaError,
        "order.xsd": Outcome,
    }


@pytest.mark.slow
def test_the_package_is_typed(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    compile_schema(source, tmp_path / "models")
    (tmp_path / "use.py").write_text(
        "from decimal import Decimal\nfrom models.order import Item, Order\n"
        "order = Order(item=[Item(class_='a', price=Decimal(1))])\nx: str = order.item[0].class_\n"
        "y: int = order.item[0].price\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "use.py", "models/order.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    assert errors[0].startswith("use.py:5:")
