"""lua_schema's own UBL invoice goes there and back in all three mappings."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

import schema

ARCHIVE = "xsd-samples.tar.xz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = Path(os.environ.get("EVPY_TEST_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
    if (data / "xsd-samples").is_dir():
        return data / "xsd-samples" / "ubl"
    if not (data / ARCHIVE).is_file():
        pytest.skip(f"no {ARCHIVE} and no unpacked samples in EVPY_TEST_DATA or ../shared/data")
    out = tmp_path_factory.mktemp("samples")
    with tarfile.open(data / ARCHIVE) as archive:
        archive.extractall(out, filter="data")
    return next(out.rglob("ubl"))


@pytest.fixture(scope="module")
def ubl(folder: Path) -> schema.Schema:
    return schema.load(folder / "common" / "UBL-Invoice-2.3.xsd")


@pytest.mark.parametrize("mapping", ["natural", "lua_schema", "badgerfish"])
def test_there_and_back(ubl: schema.Schema, folder: Path, mapping: Any) -> None:
    document = (folder / "small.xml").read_bytes()
    value = ubl.from_xml(document)
    data = ubl.to_json(value, mapping=mapping)
    assert ubl.xml_to_json(document, mapping=mapping) == data
    assert ubl.from_json(data, mapping=mapping) == value
    assert ubl.from_xml(ubl.json_to_xml(data, mapping=mapping)) == value
    assert b"Invoice" in data
