"""Tables: CSV (RFC 4180) by the standard library, XLSX by XlsxWriter and python-calamine, in threads of efio's pool.

Rows are mappings, dataclasses, Structs or sequences. A spreadsheet program takes a text that begins with ``=`` for a
formula, whoever wrote it ("CSV injection"): in XLSX texts stay texts, in CSV they get an apostrophe in front unless
``for_programs`` says that no such program will read it.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar, overload

import msgspec

from efio import run_blocking
from service_utils.formats.errors import BadData
from service_utils.formats.offload import sized
from service_utils.formats.unpacked import check_zip, too_many

__all__ = ["csv_decode", "csv_encode", "csv_stream", "xlsx_decode", "xlsx_encode"]

T = TypeVar("T")
MAX_SIZE = 64 * 1024 * 1024  # bytes
MAX_UNPACKED = 512 * 1024 * 1024  # bytes: what an XLSX file may become
MAX_CELLS = 5_000_000  # some 250 MB when they are read
BATCH = 500  # rows
# https://owasp.org/www-community/attacks/CSV_Injection; the wide ones are the same to programs in Chinese or Japanese.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_HARMLESS = (int, float, Decimal, bytes, datetime.date, datetime.time, datetime.timedelta, type(None))
XLSX_ROWS, XLSX_TEXT = 1_048_576, 32_767  # what the format can hold


def csv_encode(
    rows: Iterable[Any], columns: Sequence[str] | None = None, *, delimiter: str = ",", for_programs: bool = False
) -> bytes:
    """UTF-8 with CRLF, its first line the names of the columns: those given, else those of the first row."""
    return run_blocking(lambda: b"".join(csv_stream(rows, columns, delimiter=delimiter, for_programs=for_programs)))


def csv_stream(
    rows: Iterable[Any], columns: Sequence[str] | None = None, *, delimiter: str = ",", for_programs: bool = False
) -> Iterator[bytes]:
    """The same piece by piece, for a response that is streamed."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    names = list(columns) if columns is not None else None
    if names is not None:
        writer.writerow(names if for_programs else map(_harmless, names))
    for count, row in enumerate(rows, 1):
        values, found = _values(row, names)
        if names is None:
            names = found
            if names:
                writer.writerow(names if for_programs else map(_harmless, names))
        writer.writerow(values if for_programs else map(_harmless, values))
        if count % BATCH == 0:
            yield out.getvalue().encode("utf-8", "surrogatepass")
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode("utf-8", "surrogatepass")


def _harmless(value: Any) -> Any:
    if isinstance(value, _HARMLESS):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(_RISKY) else text


def _values(row: Any, names: Sequence[str] | None) -> tuple[Sequence[Any], list[str]]:
    """The values of a row in the order of the names, and its own names; ValueError for a column that there is not."""
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        row = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    elif isinstance(row, msgspec.Struct):
        row = msgspec.structs.asdict(row)
    if isinstance(row, Mapping):
        found = list(map(str, row))
        if names is None:
            return list(row.values()), found
        unknown = row.keys() - set(names)
        if unknown:
            raise ValueError(f"a row has columns that the table has not: {', '.join(sorted(map(str, unknown)))}")
        return [row.get(name) for name in names], found
    return list(row), []


@overload
def csv_decode(data: bytes | str, into: type[T], *, delimiter: str = ..., max_size: int = ...) -> list[T]: ...
@overload
def csv_decode(data: bytes | str, *, delimiter: str = ..., max_size: int = ...) -> list[dict[str, str]]: ...
def csv_decode(data: bytes | str, into: Any = dict, *, delimiter: str = ",", max_size: int = MAX_SIZE) -> list[Any]:
    """The rows below the line of names: dicts of texts, tuples, or objects of a dataclass or Struct, whose fields say
    what the texts become. BadData names the line."""
    if len(data) > max_size:
        raise BadData(f"the CSV has {len(data)} bytes; max_size is {max_size}")
    return sized(len(data), _uncsv, data, into, delimiter)


def _uncsv(data: bytes | str, into: Any, delimiter: str) -> list[Any]:
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadData(f"the CSV is not UTF-8: {error}") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: list[Any] = []
    try:
        names = next(reader, [])
        if len(set(names)) != len(names):
            raise BadData("line 1: a column is named twice")
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise BadData(f"line {reader.line_num}: {len(row)} values for {len(names)} columns")
            found.append(_made(names, row, into))
    except (csv.Error, msgspec.ValidationError) as error:
        raise BadData(f"line {reader.line_num}: {error}") from None
    return found


def _made(names: Sequence[str], row: Sequence[Any], into: Any) -> Any:
    if into is tuple:
        return tuple(row)
    made = dict(zip(names, row, strict=True))
    return made if into is dict else msgspec.convert(made, into, strict=False)


def xlsx_encode(sheets: Iterable[Any] | Mapping[str, Iterable[Any]], columns: Sequence[str] | None = None) -> bytes:
    """A workbook: one sheet of these rows, or one for each name. Numbers, dates and booleans stay what they are.

    ValueError for more than a sheet can hold; ImportError without XlsxWriter.
    """
    named: Mapping[str, Iterable[Any]] = sheets if isinstance(sheets, Mapping) else {"Sheet1": sheets}
    return run_blocking(_xlsx, named, columns)


def _xlsx(sheets: Mapping[str, Iterable[Any]], columns: Sequence[str] | None) -> bytes:
    try:
        import xlsxwriter
    except ImportError as error:
        raise ImportError(f"writing XLSX needs XlsxWriter: pip install 'evpy[formats]' ({error})") from error
    out = io.BytesIO()
    options = {"constant_memory": True, "remove_timezone": True, "nan_inf_to_errors": True}
    book = xlsxwriter.Workbook(out, options)
    formats = {
        datetime.datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        datetime.date: book.add_format({"num_format": "yyyy-mm-dd"}),
        datetime.time: book.add_format({"num_format": "hh:mm:ss"}),
    }
    bold = book.add_format({"bold": True})
    try:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            names = list(columns) if columns is not None else None
            line = 0
            for row in rows:
                values, found = _values(row, names)
                if names is None:
                    names = found
                if line == 0 and names:
                    _write(sheet, line, names, formats, bold)
                    sheet.freeze_panes(1, 0)
                    line = 1
                if line >= XLSX_ROWS:
                    raise ValueError(f"a sheet holds {XLSX_ROWS} rows; make several")
                _write(sheet, line, values, formats, None)
                line += 1
            if line == 0 and names:
                _write(sheet, 0, names, formats, bold)
    except xlsxwriter.exceptions.XlsxWriterException as error:
        raise ValueError(f"the workbook cannot be written: {error}") from None
    finally:
        book.close()
    return out.getvalue()


def _write(sheet: Any, line: int, values: Sequence[Any], formats: Mapping[type, Any], style: Any) -> None:
    for column, value in enumerate(values):
        if value is None:
            continue
        kind = type(value)
        if kind is bool:
            sheet.write_boolean(line, column, value, style)
        elif isinstance(value, (int, float, Decimal)) and _fits(value):
            sheet.write_number(line, column, value, style)
        elif kind in formats:
            sheet.write_datetime(line, column, value, formats[kind])
        else:
            text = str(value)
            if len(text) > XLSX_TEXT:
                raise ValueError(f"a cell holds {XLSX_TEXT} characters; this text has {len(text)}")
            sheet.write_string(line, column, text, style)


def _fits(number: float | Decimal) -> bool:
    """Whether a cell holds it exactly: not those of 16 digits and more, nor NaN."""
    try:
        return -1e15 < float(number) < 1e15
    except (OverflowError, ValueError):  # of 400 digits; a NaN that signals
        return False


def xlsx_decode(
    data: bytes, into: Any = dict, *, sheet: str | int = 0, max_size: int = MAX_SIZE, max_unpacked: int = MAX_UNPACKED,
    max_cells: int = MAX_CELLS,
) -> list[Any]:  # fmt: skip
    """The rows of a sheet, whose first has the names: dicts, objects of a dataclass or Struct, or (all rows) tuples.

    Also XLS and ODS. BadData; ImportError without python-calamine. ``max_unpacked``: bytes when unpacked.
    ``max_cells``: of a sheet, from A1 to the last column and row with something in them.
    """
    if len(data) > max_size:
        raise BadData(f"the file has {len(data)} bytes; max_size is {max_size}")
    return run_blocking(_unxlsx, data, into, sheet, max_unpacked, max_cells)


def _unxlsx(data: bytes, into: Any, sheet: str | int, max_unpacked: int, max_cells: int) -> list[Any]:
    try:
        import python_calamine as calamine
    except ImportError as error:
        raise ImportError(f"reading XLSX needs python-calamine: pip install 'evpy[formats]' ({error})") from error
    if data.startswith(b"PK"):
        check_zip(data, max_unpacked, max_cells)
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        found = book.get_sheet_by_index(sheet) if isinstance(sheet, int) else book.get_sheet_by_name(sheet)
        if found.total_height * found.total_width > max_cells:
            raise too_many(found.total_height, found.total_width, max_cells)
        rows = found.to_python(skip_empty_area=False)
    except (calamine.CalamineError, OSError, ValueError, IndexError) as error:
        raise BadData(f"not a workbook that can be read: {type(error).__name__} {error}") from None
    if into is tuple:
        return [tuple(row) for row in rows]
    names = [str(name) for name in rows[0]] if rows else []
    if len(set(names)) != len(names):
        raise BadData("row 1: a column is named twice")
    made = []
    for number, row in enumerate(rows[1:], 2):
        try:
            made.append(_made(names, [None if value == "" else value for value in row], into))
        except msgspec.ValidationError as error:
            raise BadData(f"row {number}: {error}") from None
    return made
