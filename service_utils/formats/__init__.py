"""Formats of data: CSV, XLSX, msgpack, CBOR, MIME, and PDF from HTML. Much work is done by threads of efio's pool.

Names are loaded when they are first used; ``pip install 'evpy[formats]'`` brings what they need, ``evpy[pdf]``
WeasyPrint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_utils.lazily import lazily

if TYPE_CHECKING:
    from service_utils.formats.binary import cbor_decode, cbor_encode, msgpack_decode, msgpack_encode
    from service_utils.formats.errors import BadData, FormatError, PdfFailed
    from service_utils.formats.mime import media_type, mime_decode
    from service_utils.formats.pdf import PdfPrinter, Sheet, html_to_pdf
    from service_utils.formats.tables import csv_decode, csv_encode, csv_stream, xlsx_decode, xlsx_encode

__all__ = [
    "BadData",
    "FormatError",
    "PdfFailed",
    "PdfPrinter",
    "Sheet",
    "cbor_decode",
    "cbor_encode",
    "csv_decode",
    "csv_encode",
    "csv_stream",
    "html_to_pdf",
    "media_type",
    "mime_decode",
    "msgpack_decode",
    "msgpack_encode",
    "xlsx_decode",
    "xlsx_encode",
]

_HOME = {
    "binary": ("cbor_decode", "cbor_encode", "msgpack_decode", "msgpack_encode"),
    "errors": ("BadData", "FormatError", "PdfFailed"),
    "mime": ("media_type", "mime_decode"),
    "pdf": ("PdfPrinter", "Sheet", "html_to_pdf"),
    "tables": ("csv_decode", "csv_encode", "csv_stream", "xlsx_decode", "xlsx_encode"),
}

__getattr__, __dir__ = lazily(__name__, _HOME)
