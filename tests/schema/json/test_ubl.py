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
    places = [Path(os.environ["EVPY_TEST_DATA"])] if "EVPY_TEST_DATA" in os.environ else []
    places += [parent / "shared" / "data" for parent in Path(__file__).resolve().parents]
    for data in places:
        if (data / "xsd-samples").is_dir():
            return data / "xsd-samples" / "ubl"
        if (data / ARCHIVE).is_file():
            out = tmp_path_factory.mktemp("samples")
            with tarfile.open(data / ARCHIVE) as archive:
                archive.extractall(out, filter="data")
            return next(out.rglob("ubl"))
    pytest.skip(f"no {ARCHIVE} and no unpacked samples in EVPY_TEST_DATA or ../shared/data")


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
