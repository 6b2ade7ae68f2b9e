"""CSV and XLSX, there and back, and what comes from people who mean no good."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import zipfile
from decimal import Decimal
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service_utils.formats import BadData, csv_decode, csv_encode, csv_stream, xlsx_decode, xlsx_encode


@dataclasses.dataclass
class Item:
    name: str
    price: float
    since: datetime.date | None = None


class Sale(msgspec.Struct):
    name: str
    count: int


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_csv_round_trip(rows: list[tuple[str, str]]) -> None:
    rows = [tuple(text.encode("utf-8", "replace").decode().replace("\0", "") for text in row) for row in rows]  # type: ignore[misc]
    text = csv_encode([dict(zip("ab", row, strict=True)) for row in rows], ["a", "b"], for_programs=True)
    assert csv_decode(text, tuple) == rows


def test_csv_kinds() -> None:
    made = csv_encode([Item("tea", 2.5, datetime.date(2026, 1, 2)), Item('a "b", c', 1)])
    assert made == b'name,price,since\r\ntea,2.5,2026-01-02\r\n"a ""b"", c",1,\r\n'
    assert csv_encode([Sale("x", 1)]) == b"name,count\r\nx,1\r\n"
    assert csv_encode([(1, None), ["b", True]]) == b"1,\r\nb,True\r\n"
    assert csv_encode([], ["a"]) == b"a\r\n"
    assert csv_decode(b"\xef\xbb\xbfname;count\n\ntea;7\n", Sale, delimiter=";") == [Sale("tea", 7)]
    assert csv_decode("a,b\n1,2", dict) == [{"a": "1", "b": "2"}]
    large = b"".join(csv_stream({"n": n} for n in range(30_000)))
    assert len(gevent.spawn(csv_decode, large).get()) == 30_000
    with pytest.raises(ValueError, match="the table has not: c"):
        csv_encode([{"a": 1}, {"a": 2, "c": 3}], ["a"])


def test_csv_injection() -> None:
    evil = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]
    for text in evil:
        [row] = csv.reader(io.StringIO(csv_encode([(text, -1, 5)]).decode(), newline=""))
        assert row == [f"'{text}", "-1", "5"]
    assert csv_encode([{"=a": 1}]).startswith(b"'=a")

    class Price:
        def __str__(self) -> str:
            return "=cmd()"

    assert csv_encode([(Price(), None, Decimal(-1), datetime.timedelta(-1))]) == b'\'=cmd(),,-1,"-1 day, 0:00:00"\r\n'


def test_bad_csv() -> None:
    for data, says in (
        (b"a,b\n1", "line 2: 1 values for 2"), (b"a,a\n1,2", "line 1: .*twice"), (b"\xff", "not UTF-8"),
        (b'a\n"x"y', "line 2"), (b'a\n"x', "line"), (b"a\n" + b"x" * 200_000, "line"),
    ):  # fmt: skip
        with pytest.raises(BadData, match=says):
            csv_decode(data)
    with pytest.raises(BadData, match=r"line 3: .*int"):
        csv_decode("name,count\na,1\nb,x", Sale)
    with pytest.raises(BadData, match="max_size"):
        csv_decode(b"x" * 11, max_size=10)


def test_xlsx() -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the format has no zones
    rows = [
        {"text": "=1+1", "int": 5, "float": 1.5, "bool": True, "day": when.date(), "when": when, "none": None},
        {"text": "http://example.org", "int": 10**400, "float": Decimal("2.25"), "bool": False, "day": None},
    ]
    book = gevent.spawn(xlsx_encode, rows).get()
    first, second = xlsx_decode(book)
    assert first == rows[0]
    assert (second["text"], second["int"], second["float"]) == ("http://example.org", "1" + "0" * 400, 2.25)
    unpacked = zipfile.ZipFile(io.BytesIO(book)).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in unpacked, "no formula"
    assert b"hyperlink" not in unpacked
    two = xlsx_encode({"Items": [Item("tea", 2.5, when.date())], "Sales": [Sale("tea", 3)]})
    assert xlsx_decode(two, Sale, sheet="Sales") == [Sale("tea", 3)]
    assert xlsx_decode(two, Item) == [Item("tea", 2.5, when.date())]
    assert xlsx_decode(xlsx_encode([(1, 2)]), tuple) == [(1, 2)]
    assert xlsx_decode(xlsx_encode([], ["a"])) == []
    for bad, says in (([("x" * 40_000,)], "cell holds"), ({"a/b": []}, "cannot be written")):
        with pytest.raises(ValueError, match=says):
            xlsx_encode(bad)


def test_bad_xlsx() -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/worksheets/sheet1.xml", bytes(5_000_000))
    good = xlsx_encode([{"name": "a", "count": "x"}])
    for data, more, says in (
        (bomb.getvalue(), {"max_unpacked": 1_000_000}, "when it is unpacked"),
        (bomb.getvalue(), {}, "not a workbook"),
        (b"", {}, "not a workbook"),
        (b"PK\x03\x04", {}, "not a workbook"),
        (good[:-50], {}, "not a workbook"),
        (good, {"sheet": "no such"}, "not a workbook"),
        (good, {"sheet": 7}, "not a workbook"),
        (good, {"into": Sale}, "row 2: .*int"),
        (good, {"max_size": 10}, "max_size"),
        (xlsx_encode([("a", "a")]), {}, "twice"),
    ):
        with pytest.raises(BadData, match=says):
            xlsx_decode(data, **more)  # type: ignore[arg-type]


def rewritten(book: bytes, *changes: tuple[str, str]) -> bytes:
    """The same workbook with other texts in its only sheet."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                for what, instead in changes:
                    assert what.encode() in text
                    text = text.replace(what.encode(), instead.encode())
            new.writestr(name, text)
    return out.getvalue()


def ods(rows: str) -> bytes:
    out = io.BytesIO()
    names = "".join(
        f' xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{short}:1.0"' for short in ("office", "table", "text")
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        packed.writestr("META-INF/manifest.xml", "<manifest/>")
        packed.writestr(
            "content.xml",
            f"<office:document-content{names}><office:body><office:spreadsheet><table:table table:name='S'>{rows}"
            "</table:table></office:spreadsheet></office:body></office:document-content>",
        )
    return out.getvalue()


CELL = "<table:table-cell office:value-type='string'{}><text:p>x</text:p></table:table-cell>"


def test_workbooks_that_become_too_large() -> None:
    """Their reader makes room for everything between A1 and the last cell, and ends the process if there is none."""
    good = xlsx_encode([("a", "b"), (1, 2)])
    places = ('r="A2"', 'r="B2"')
    assert xlsx_decode(rewritten(good, (places[1], 'r="C2"')), tuple, max_cells=6)[1] == (1.0, "", 2.0)
    row = ('<row r="2"', '<row r="1048576"')
    for changes in (
        [(places[1], 'r="XFD1048576"')],
        [(places[1], "r='xfd1048576'")],
        [row, (places[0], ""), (places[1], 'r="XFD2"')],
        [row, ("<sheetData>", "<sheetData><row>" + "<c><v>1</v></c>" * 9000 + "</row>"), *((p, "") for p in places)],
        [("<sheetData>", f"<sheetData>{' ' * (1 << 20)}"), (places[1], 'r="XFD1048576"')],  # in another piece
    ):
        with pytest.raises(BadData, match="max_cells"):
            xlsx_decode(rewritten(good, *changes), tuple)
    with pytest.raises(BadData, match=r"2 rows of 2 columns; max_cells is 3"):
        xlsx_decode(good, tuple, max_cells=3)


def test_tables_that_repeat_themselves() -> None:
    empty = "<table:table-row table:number-rows-repeated='1048576'><table:table-cell/></table:table-row>"
    times = " table:number-columns-repeated='3'"
    small = ods(f"<table:table-row table:number-rows-repeated='2'>{CELL.format(times)}</table:table-row>{empty}")
    assert xlsx_decode(small, tuple) == [("x", "x", "x")] * 2
    wide = CELL.format(" table:number-columns-repeated='1000'")
    gap = "<table:table-cell table:number-columns-repeated='16000'/>" + CELL.format("")
    for rows in (
        f"<table:table-row table:number-rows-repeated='100000'>{wide}</table:table-row>",
        f"{empty}<table:table-row>{gap}</table:table-row>",
    ):
        with pytest.raises(BadData, match="max_cells"):
            xlsx_decode(ods(rows), tuple)
    binary = io.BytesIO()
    with zipfile.ZipFile(binary, "w") as packed:
        packed.writestr("xl/workbook.bin", b"")
    with pytest.raises(BadData, match="XLSB"):
        xlsx_decode(binary.getvalue())


def test_exports() -> None:
    from service_utils import formats

    assert all(getattr(formats, name) is not None for name in formats.__all__)
    with pytest.raises(AttributeError):
        formats.nothing  # noqa: B018
    assert isinstance(formats.BadData("x"), ValueError)
    rows: Any = {}
    assert xlsx_encode({"Empty": rows.items()})
