"""The command line: exit codes, and every fault in one line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def evschema(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The program itself; for what only a process of its own can show."""
    program = [sys.executable, "-m", "schema.cli", *arguments]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(program, check=False, **given)


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    return text


def test_the_other_documents_are_judged_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert main(["validate", "order.xsd", "none.xml", "folder", "bad.xml", "good.xml"]) == 2
    out, err = capsys.readouterr()
    assert err == "evschema: none.xml: No such file or directory\nevschema: folder: Is a directory\n"
    assert out.splitlines()[-1] == "good.xml: valid"


@pytest.mark.parametrize("command", ["validate", "convert", "sample", "explain"])
def test_an_unknown_root_is_a_fault_of_the_call(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.json").write_text('{"@id":"i","size":"AB12","choice":[{"a":1}]}')
    documents = ["good.json"] if command in ("validate", "convert") else []
    assert main([command, "order.xsd", *documents, "--root", "nope"]) == 2
    assert capsys.readouterr().err == "evschema: 'nope' is none of the roots order [unknown-root]\n"


def test_ways_out_that_messages_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("types.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:simpleType name="t">'
        '<xs:restriction base="xs:string"><xs:pattern value="(a|aa)+b"/></xs:restriction></xs:simpleType></xs:schema>'
    )
    Path("remote.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:include schemaLocation="http://example.com/t.xsd"/>'
        '<xs:element name="r" type="t"/></xs:schema>'
    )
    Path("r.xml").write_text("<r>ab</r>")
    assert main(["validate", "remote.xsd", "r.xml"]) == 2
    assert "(evschema: --location)" in capsys.readouterr().err
    given = ["--location", "http://example.com/t.xsd=types.xsd"]
    assert main(["validate", "remote.xsd", "r.xml", *given]) == 2
    assert "(evschema: --unsafe-patterns)" in capsys.readouterr().err
    assert main(["validate", "remote.xsd", "r.xml", *given, "--unsafe-patterns"]) == 0
    assert main(["compile", "remote.xsd", "-o", "models", *given, "--unsafe-patterns"]) == 0
    assert main(["validate", "remote.xsd", "r.xml", *given, "--unsafe-patterns", "--allow", "/nowhere"]) == 2
    assert "outside of the allowed folders" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["validate", "remote.xsd", "r.xml", "--location", "nothing"])
    assert main(["validate", "order.xsd", "good.xml", "--max-bytes", "10"]) == 1
    assert "--max-bytes" in capsys.readouterr().out
    for size in ("0", "-5", "1e3", "", "9" * 5000):
        with pytest.raises(SystemExit, match="2"):
            main(["validate", "order.xsd", "good.xml", f"--max-bytes={size}"])
        assert "is no number of bytes from 1 on" in capsys.readouterr().err


def test_what_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "order.xsd", "/dev/zero"]) == 1
    assert "more than 8388608 bytes" in capsys.readouterr().out
    assert main(["convert", "order.xsd", "/dev/zero"]) == 1
    assert main(["validate", "/dev/zero", "good.xml"]) == 2
    assert "[schema-unsafe]" in capsys.readouterr().err


def test_links_in_a_circle(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    Path("folder/loop.xsd").symlink_to("loop.xsd")
    for arguments in (["validate", "folder/loop.xsd", "good.xml"], ["compile", "folder", "-o", "models"]):
        assert main(arguments) == 2
        assert "[schema-unreachable]" in capsys.readouterr().err


def test_documents_are_utf8_whatever_the_terminal_is() -> None:
    Path("wide.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="gr\u00f6\u00dfe" type="xs:string"/>'
        "</xs:schema>"
    )
    Path("wide.xml").write_text("<gr\u00f6\u00dfe>\u00e9</gr\u00f6\u00dfe>")
    Path("wrong.xml").write_text("<gr\u00f6\u00dfe><a/></gr\u00f6\u00dfe>")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert evschema("convert", "wide.xsd", "wide.xml", env=environment).stdout == '"\u00e9"\n'.encode()
    assert "\u00f6".encode() in evschema("sample", "wide.xsd", env=environment).stdout
    for arguments, status in ((("explain", "wide.xsd"), 0), (("validate", "wide.xsd", "wrong.xml"), 1)):
        done = evschema(*arguments, env=environment)
        assert done.returncode == status
        assert b"gr\\xf6\\xdfe" in done.stdout


def test_nobody_reads_what_it_says() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = evschema("explain", "order.xsd", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    with open("/dev/full", "wb") as full:
        for arguments in (("explain", "order.xsd"), ("convert", "order.xsd", "good.xml")):
            done = evschema(*arguments, stdout=full)
            assert done.returncode == 2
            assert one_line(done) == "evschema: standard output: No space left on device\n"
    command = f"exec {shlex.quote(sys.executable)} -m schema.cli validate order.xsd good.xml >&-"
    assert subprocess.run(["sh", "-c", command], check=False, capture_output=True).stderr == b""


@pytest.fixture
def nobody(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the rights of root, who may do anything, in a folder of one's own."""
    before = os.geteuid()
    if before == 0:
        main(["compile", "order.xsd", "-o", "warm"])  # what it imports may not be readable for others
        main(["convert", "order.xsd", "good.xml"])
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        monkeypatch.chdir(folder)
        if before == 0:
            os.seteuid(65534)
        yield
        os.seteuid(before)
        monkeypatch.chdir(here)


def test_without_permission(nobody: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("order.xsd").write_text(XSD)
    Path("good.xml").write_text(GOOD)
    for name in ("order.xsd", "good.xml"):
        os.chmod(name, 0)
        assert main(["validate", "order.xsd", "good.xml"]) == 2
        assert "Permission denied" in capsys.readouterr().err
        os.chmod(name, 0o600)
    os.mkdir("models", 0o500)
    for what, *options in (["compile", "-o", "models"], ["convert", "good.xml", "-o", "models/__init__.py"]):
        assert main([what, "order.xsd", *options]) == 2
        assert capsys.readouterr().err == "evschema: models/__init__.py: Permission denied\n"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.sampled_from([XSD, GOOD, '{"@id":"i"}']).map(str.encode), st.data())
def test_rubbish_never_ends_in_a_traceback(
    capsys: pytest.CaptureFixture[str], text: bytes, data: st.DataObject
) -> None:
    at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 3))
    text = text[:at] + data.draw(st.binary(max_size=3)) + text[at + length :]
    for name in ("rubbish.xsd", "rubbish.xml", "rubbish.json"):
        Path(name).write_bytes(text)
    assert main(["explain", "rubbish.xsd"]) in (0, 2)
    for command in ("validate", "convert"):
        for name in ("rubbish.xml", "rubbish.json"):
            for mapping in ("natural", "lua_schema", "badgerfish"):
                assert main([command, "order.xsd", name, "--mapping", mapping]) in (0, 1)
    capsys.readouterr()
