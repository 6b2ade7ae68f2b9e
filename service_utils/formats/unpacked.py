"""How large a workbook becomes, looked at before it is read.

A file of a kilobyte may unpack to any size, and its two cells may stand so far apart that the table between them fills
all memory: the reader makes room for it at once, and ends the process when there is none. So every part is unpacked
here in small pieces, counted, and searched for where its cells are.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import IO
from xml.parsers import expat

from service_utils.formats.errors import BadData

__all__ = ["check_zip", "too_many"]

PIECE = 1 << 20  # bytes
_TABLE = "urn:oasis:names:tc:opendocument:xmlns:table:1.0 "
# Rows and cells of XLSX, and their places: r="17" of a row, r="AB17" of a cell. Anything else with such an attribute
# counts, too: it does no harm.
_PLACE = re.compile(
    rb"<(?:[\w.-]+:)?(?P<tag>row|c)(?=[\s/>])|\sr\s*=\s*[\"'](?P<column>[A-Za-z]{0,3})(?P<row>[0-9]{1,9})[\"']"
)


def too_many(rows: int, columns: int, most: int) -> BadData:
    """The error for a table that is too large."""
    return BadData(f"the sheet has {rows} rows of {columns} columns; max_cells is {most}")


def check_zip(data: bytes, max_unpacked: int, max_cells: int) -> None:
    """BadData for what is no archive, has more bytes than ``max_unpacked``, or a sheet with more than ``max_cells``."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            left = max_unpacked
            for entry in packed.infolist():
                if entry.filename.lower().endswith("workbook.bin"):
                    raise BadData("a workbook in the form XLSB is not read; save it as XLSX")
                part: _Xlsx | _Ods = _Ods(max_cells) if entry.filename == "content.xml" else _Xlsx(max_cells)
                with packed.open(entry) as file:
                    left = _read(file, left, max_unpacked, part)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
        raise BadData(f"not a workbook that can be read: {error}") from None


def _read(file: IO[bytes], left: int, most: int, part: _Xlsx | _Ods) -> int:
    while piece := file.read(min(PIECE, left + 1)):
        left -= len(piece)
        if left < 0:
            raise BadData(f"the file has more than {most} bytes when it is unpacked")
        part.feed(piece)
    return left


class _Xlsx:
    """The place farthest from A1 in a part of an XLSX file. (What is no sheet has none.)"""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._row = self._column = 0
        self._rows = self._columns = 0

    def feed(self, piece: bytes) -> None:
        text = self._rest + piece.translate(None, b"\0")  # as UTF-16 it has the same letters
        end = 0
        for found in _PLACE.finditer(text):
            end = found.end()
            tag = found["tag"]
            if tag == b"row":
                self._row, self._column = self._row + 1, 0
            elif tag is not None:
                self._column += 1
            else:
                self._row = int(found["row"])
                if found["column"]:
                    self._column = _number(found["column"])
            self._rows, self._columns = max(self._rows, self._row), max(self._columns, self._column)
        self._rest = text[max(end, len(text) - 64) :]
        if self._rows * self._columns > self._most:
            raise too_many(self._rows, self._columns, self._most)


def _number(column: bytes) -> int:
    number = 0
    for letter in column.upper():
        number = number * 26 + letter - 64
    return number


class _Ods:
    """The same in the tables of an ODS file, where rows and cells may say how often they are repeated."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._rows = self._columns = 0  # of the table so far
        self._row = self._column = 0  # its last row and cell that hold something
        self._repeated, self._width, self._filled = 1, 0, 0  # of this row

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.Parse(piece)
        except expat.ExpatError as error:
            raise BadData(f"not a workbook that can be read: {error}") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.removeprefix(_TABLE)
        if kind == "table":
            self._rows = self._row = self._column = 0
        elif kind == "table-row":
            self._repeated, self._width, self._filled = _times(attributes, "number-rows-repeated"), 0, 0
        elif kind in ("table-cell", "covered-table-cell"):
            self._width += _times(attributes, "number-columns-repeated")
            if any(attribute.endswith(("value", "value-type", "formula")) for attribute in attributes):
                self._filled = self._width
        elif self._width:  # something in a cell
            self._filled = self._width

    def _end(self, name: str) -> None:
        if name != _TABLE + "table-row":
            return
        self._rows += self._repeated
        if self._filled:
            self._row, self._column = self._rows, max(self._column, self._filled)
            if self._row * self._column > self._most:
                raise too_many(self._row, self._column, self._most)


def _times(attributes: dict[str, str], name: str) -> int:
    text = attributes.get(_TABLE + name, "1")
    return int(text) if text.isdecimal() and len(text) < 10 else 1
