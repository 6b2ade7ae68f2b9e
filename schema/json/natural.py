"""The natural mapping: what one would write by hand.

* no wrapper for the root: an object has its members, a simple root is the bare value;
* members by local name, attributes as ``@name``, text beside attributes as ``$``, xsi:type as ``@xsi:type`` (the
  class's name, in families only), xsi:nil as null, or as ``@xsi:nil`` where there are attributes;
* an array exactly where there may be more than one; a group that repeats is an array of objects, which keeps the order;
  mixed content is an array of texts and objects; what a wildcard lets through is ``[name, attributes, content]``;
* numbers and booleans as such; integers beyond 53 bits, decimals, NaN and the infinities as strings; everything else by
  its text in XML. Names are ``{namespace}local``. null is xsi:nil and nothing else: what is absent is left out;
* what is a string is read as strictly as in XML: no exponent in a decimal, white space around it at most.

msgspec does all of it: the classes are named and typed for it, and the values that it does not know come here. What it
decodes is written as XML and judged there, so JSON is valid exactly when its XML is.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from schema import values as v
from schema.codegen.plan import iter_leaves
from schema.errors import LimitExceeded, Problem, ValidationError
from schema.json import pieces
from schema.json.nulls import refuse, refuse_nulls
from schema.runtime.offload import Loop
from schema.runtime.union import read_spelt
from schema.values.spelt import spelling

if TYPE_CHECKING:
    from schema.codegen.plan import Class, Plan

__all__ = ["JsonPaths", "Natural"]

_WHITE = " \t\n\r"
_DIGITS = re.compile(r"[+-]?\d+", re.ASCII)
# What is written just as it is read: most values are, and need no closer look.
_USUAL_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?", re.ASCII)
_USUAL_DATE = re.compile(r"(?!0000)\d{4}-\d\d-\d\d", re.ASCII)
_USUAL_DATETIME = re.compile(rf"{_USUAL_DATE.pattern}T([01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
_FLOAT = re.compile(r"(\+|-)?(\d+(\.\d*)?|\.\d+)([Ee](\+|-)?\d+)?|-?INF|NaN", re.ASCII)


def _integer(value: object) -> int:
    if type(value) is int:
        return v.big(value)
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip(_WHITE)):
        return read_spelt(v.read_int(value), value)
    raise ValueError("Expected an integer, or one as a string")


def _decimal(value: object) -> Decimal:
    if isinstance(value, str) and _USUAL_DECIMAL.fullmatch(value):
        return v.read_decimal(value)
    if type(value) in (int, Decimal):
        return v.read_decimal(v.write_decimal(value))
    if isinstance(value, str):
        return read_spelt(v.read_decimal_strictly(value), value)
    raise ValueError("Expected a decimal number, or one as a string")


def _float(value: object) -> float:
    if type(value) in (int, Decimal):
        return v.read_float(str(value))
    if isinstance(value, str) and _FLOAT.fullmatch(value.strip(_WHITE)):
        return read_spelt(v.read_float(value), value)
    raise ValueError("Expected a number, or one as a string")


def _text(read: Callable[[str], Any]) -> Callable[[object], Any]:
    def decode(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"Expected `str`, got `{json_name(value)}`")
        made = read(value)
        return made if isinstance(made, v.QName) else read_spelt(made, value)

    return decode


_any_date, _any_datetime = _text(v.read_date_strictly), _text(v.read_datetime_strictly)


def _date(value: object) -> Any:
    if isinstance(value, str) and _USUAL_DATE.fullmatch(value):
        return dt.date.fromisoformat(value)
    return _any_date(value)


def _datetime(value: object) -> Any:
    if isinstance(value, str) and _USUAL_DATETIME.fullmatch(value):
        return dt.datetime.fromisoformat(value)
    return _any_datetime(value)


def _varied(value: object) -> Any:
    if isinstance(value, list):
        return [_varied(one) for one in value]
    if isinstance(value, dict):
        raise ValueError("Expected a string, a number or a boolean, got `object`")
    return value


def json_name(value: object) -> str:
    """What JSON calls a value of this type."""
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "number"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "number"


_DECODE: Mapping[Any, Callable[[Any], Any]] = {
    v.Exact: _decimal,
    v.Varied: _varied,
    v.Integer: _integer,
    v.Float: _float,
    v.Hex: _text(v.read_hex_strictly),
    v.Base64: _text(v.read_base64_strictly),
    v.Date: _date,
    v.DateTime: _datetime,
    v.Time: _text(v.read_time_strictly),
    v.QName: _text(v.QName.parse),
    **{kind: _text(kind.parse) for kind in (v.Duration, v.GYear, v.GYearMonth, v.GMonth, v.GMonthDay, v.GDay)},
}


def _decode(kind: Any, value: Any) -> Any:
    if value is None:
        raise ValueError("Got `null`: what is absent is left out")
    return _DECODE[kind](value)


def _encode(value: Any) -> Any:
    if (text := spelling(value)) is not None:
        return text
    if isinstance(value, float):
        return v.write_float(float(value))
    if isinstance(value, Decimal):
        return v.write_decimal(value)
    if isinstance(value, bytes):
        return v.write_hex(bytes(value))
    return str(value)


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, dec_hook=_decode, float_hook=Decimal)


_encoder = msgspec.json.Encoder(enc_hook=_encode)
_WHERE = re.compile(r" - at `\$(.*?)`$", re.DOTALL)


class Natural:
    """Encodes and decodes the objects of one root element. ``kind`` is the type of its objects, for msgspec."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder = _decoder(kind)

    def encode(self, value: Any) -> bytes:
        """The JSON of an object that has been judged."""
        return pieces.encode(_encoder, value)

    def decode(self, data: bytes | str) -> Any:
        """The object, not judged yet. Raises ValidationError when the JSON is of another shape than the classes."""
        try:
            loop = pieces.waiting(len(data))
            if loop is not None:
                return self._in_pieces(data, loop)
            value = self._decoder.decode(data)
            if (b"null" if isinstance(data, bytes) else "null") in data:  # type: ignore[operator] # both are the same
                refuse_nulls(self._kind, data)
            return value
        except pieces.PieceError as error:
            raise ValidationError([_problem(str(error), error.path, error.first)]) from None
        except msgspec.ValidationError as error:
            raise ValidationError([_problem(str(error))]) from None
        except msgspec.DecodeError as error:
            raise ValidationError([Problem("json-not-well-formed", str(error))]) from None
        except UnicodeError as error:
            raise ValidationError([Problem("json-not-well-formed", str(error))]) from None
        except RecursionError:
            raise LimitExceeded([Problem("limit", "the JSON is nested too deeply")]) from None

    def _in_pieces(self, data: bytes | str, loop: Loop) -> Any:
        text = data.encode() if isinstance(data, str) else data
        decoder = pieces.Decoder(_decoder, text, nulls=True)
        value = decoder.decode(self._kind, loop)
        refuse(decoder.nulls)
        return value


def _problem(message: str, piece: str = "", first: int | None = None) -> Problem:
    """From what msgspec says. ``piece``: the path of the piece of the text; ``first``: the number of its first item."""
    where = _WHERE.search(message)
    path = ""
    if where:
        path, message = where[1], message[: where.start()]
    if first:
        path = re.sub(r"^\[(\d+)\]", lambda m: f"[{int(m[1]) + first}]", path)
    path = (piece + path).lstrip(".")
    code = "wrong-type"
    if "missing required field" in message:
        code = "missing-member"
    elif "unknown field" in message:
        code = "unknown-member"
    return Problem(code, message, path)


# --- from libxml2's paths to ours ---------------------------------------------------------------------------------

_STEP = re.compile(r"(@?[^\[]+)(?:\[(\d+)\])?")


class JsonPaths:
    """Tells the paths of JSON for those of XML, in an object that was written as this XML. The children of each object
    on the way are looked at once, however many paths lead through it.
    """

    def __init__(self, plan: Plan, value: Any) -> None:
        self._classes = {c.name: c for c in plan.classes}
        self._value = value
        self._known: dict[int, dict[str, list[tuple[str, Any]]]] = {}  # by id: children by local name

    def of(self, path: str) -> str:
        """``items.item[2].qty`` for ``/order/items/item[3]/qty``."""
        steps = [m for step in path.split("/")[2:] if (m := _STEP.fullmatch(step))]
        parts: list[str] = []
        value = self._value
        for number, step in enumerate(steps):
            made = self._classes.get(type(value).__name__)
            found = self._member(made, value, step[1], int(step[2] or 1)) if made is not None else None
            if found is None:  # an element or attribute that the object cannot have; beyond a wildcard
                parts += [rest[0] for rest in steps[number:]]
                break
            parts.append(found[0])
            value = found[1]
        return ".".join(parts)

    def _member(self, made: Class, value: Any, name: str, number: int) -> tuple[str, Any] | None:
        """The path and the value of an attribute, or of the ``number``th child element with this local name."""
        if name.startswith("@"):
            return next(((f.json, None) for f in made.fields if f.kind == "attribute" and f.json == name), None)
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = {}
            for local, path, child in _children(made, value):
                known.setdefault(local, []).append((path, child))
        among = known.get(name, ())
        return among[number - 1] if number <= len(among) else None


def _children(made: Class, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Local names, paths and values of the child elements, in the order in which they are written."""
    fields = made.of("mixed") or [leaf.field for leaf in iter_leaves(made.model)]
    for f in fields:
        given = getattr(value, f.name)
        several = f.many or f.kind == "mixed"
        for number, one in enumerate(given if several else [given]):
            path = f"{f.json}[{number}]" if several else f.json
            if f.kind in ("group", "mixed"):
                if f.target is not None and not isinstance(one, str):
                    yield from ((local, f"{path}.{inner}", child) for local, inner, child in _children(f.target, one))
            elif one is UNSET or (one is None and not f.nillable):
                continue
            else:
                yield (one.name if f.kind == "any" else f.xml).rpartition("}")[2], path, one
