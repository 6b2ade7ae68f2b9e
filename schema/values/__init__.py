"""Values that XML Schema knows and the standard library does not, and the way from text to any value.

The Python types: str, bool, int, float, ``decimal.Decimal``, bytes, list; ``datetime.date``, ``datetime`` and
``time`` as far as they reach, else ``XsdDate``, ``XsdDateTime`` and ``XsdTime`` (zones on dates, years before 1 and
after 9999, 24:00:00, more than microseconds); ``Duration``, ``GYear`` and its kin, ``QName``; ``AnyElement`` for what
a wildcard lets through.
"""

from schema.values.dates import (
    Date,
    DateTime,
    GDay,
    GMonth,
    GMonthDay,
    GYear,
    GYearMonth,
    Time,
    XsdDate,
    XsdDateTime,
    XsdTime,
    read_date,
    read_date_strictly,
    read_datetime,
    read_datetime_strictly,
    read_time,
    read_time_strictly,
)
from schema.values.duration import Duration
from schema.values.nodes import AnyElement
from schema.values.qname import QName
from schema.values.text import (
    BOOLEANS,
    WRITE_BOOLEAN,
    Float,
    Hex,
    Integer,
    big,
    collapse,
    read_base64,
    read_float,
    read_hex,
    read_int,
    replace,
    write_base64,
    write_decimal,
    write_float,
    write_hex,
    write_int,
)

__all__ = [
    "BOOLEANS",
    "WRITE_BOOLEAN",
    "AnyElement",
    "Date",
    "DateTime",
    "Duration",
    "Float",
    "GDay",
    "GMonth",
    "GMonthDay",
    "GYear",
    "GYearMonth",
    "Hex",
    "Integer",
    "QName",
    "Time",
    "XsdDate",
    "XsdDateTime",
    "XsdTime",
    "big",
    "collapse",
    "read_base64",
    "read_date",
    "read_date_strictly",
    "read_datetime",
    "read_datetime_strictly",
    "read_float",
    "read_hex",
    "read_int",
    "read_time",
    "read_time_strictly",
    "replace",
    "write_base64",
    "write_decimal",
    "write_float",
    "write_hex",
    "write_int",
]
