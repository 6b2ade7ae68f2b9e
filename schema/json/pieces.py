"""Large JSON, piece by piece: msgspec decodes and encodes at one go, 10 to 50 ms for 2 MB, and keeps the interpreter
lock.

Where an event loop would have to wait, a text is walked over once in another thread (``Outline``), and then decoded in
pieces of some 16 KB with breaths in between: the items of long arrays in groups, the members of large objects one by
one. An object is encoded in the same way. What comes out is the same as at one go; of a text with several faults,
another one may be the first.

Where there is no compiled module, all is done at one go.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from typing import Any, get_args, get_origin

import msgspec

from schema.json.nulls import TAG, fields, find_nulls, members
from schema.runtime.offload import INLINE_LIMIT, Loop, begin, current, pace

_pieces: Any
try:
    from schema.json import _pieces
except ImportError:  # not built
    _pieces = None

__all__ = ["Decoder", "encode", "encode_any", "loads", "waiting"]

PIECE = 1 << 14  # bytes
_BYTE = re.compile(r"\(byte (\d+)\)")


def waiting(size: int) -> Loop | None:
    """The loop that would have to wait while JSON of this many bytes is dealt with at one go."""
    return current() if _pieces is not None and size > INLINE_LIMIT else None


class PieceError(Exception):
    """What msgspec has against a piece; ``path`` and ``first``, the number of its first item, say which."""

    def __init__(self, error: msgspec.ValidationError, path: str, first: int | None = None) -> None:
        super().__init__(str(error))
        self.path = path
        self.first = first


class Decoder:
    """Decodes one text as ``kind``. ``made`` gives the decoder of a type."""

    def __init__(self, made: Callable[[Any], msgspec.json.Decoder[Any]], data: bytes, *, nulls: bool) -> None:
        self._made = made
        self._data = data
        self._look_for_nulls = nulls
        self._outline = _pieces.Outline(data, PIECE)
        self.nulls: list[str] = []  # paths of those that are refused

    def decode(self, kind: Any, loop: Loop) -> Any:
        """The value. Raises PieceError or msgspec.DecodeError."""
        self._outline = loop.elsewhere(self._outline.scan)
        begin()
        outline = self._outline
        if outline.wrong >= 0:
            raise msgspec.DecodeError(
                "Input data was truncated"
                if outline.wrong == len(self._data)
                else f"JSON is malformed: brackets and commas do not fit (byte {outline.wrong})"
            )
        if outline.root is None:
            return self._whole(kind, self._data, "")
        self._between(0, outline.root)
        self._between(outline.end(outline.root), len(self._data))
        return self._large(kind, outline.root, "")

    def _whole(self, kind: Any, text: bytes, path: str, at: int = 0, first: int | None = None) -> Any:
        """A piece; ``at``: where in the whole it begins."""
        try:
            value = self._read(self._made(kind), text, at)
        except msgspec.ValidationError as error:
            raise PieceError(error, path, first) from None
        if self._look_for_nulls and b"null" in text:
            self.nulls += find_nulls(kind, msgspec.json.decode(text), path, first or 0)
        return value

    @staticmethod
    def _read(decoder: msgspec.json.Decoder[Any], text: bytes, at: int) -> Any:
        try:
            value = decoder.decode(text)
            _pieces.hide(value)
            return value
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            raise msgspec.DecodeError(_BYTE.sub(lambda m: f"(byte {int(m[1]) + at})", str(error))) from None

    def _large(self, kind: Any, begin: int, path: str) -> Any:
        """The value of a large container."""
        outline, choices = self._outline, members(kind)
        if self._data[begin] == 0x5B:
            for choice in choices:
                if choice is Any or get_origin(choice) is list:
                    return self._array(Any if choice is Any else get_args(choice)[0], begin, path)
        elif Any in choices:
            return self._mapping(begin, path)
        else:
            classes = [c for c in choices if isinstance(c, type) and issubclass(c, msgspec.Struct)]
            if classes and not any(c.__struct_config__.array_like for c in classes):
                return self._object(kind, classes, begin, path)
        return self._whole(kind, self._data[begin : outline.end(begin)], path, begin)

    def _between(self, begin: int, end: int) -> None:
        """Raises DecodeError unless there is nothing but white space."""
        if self._data[begin:end].strip(b" \t\r\n"):
            raise msgspec.DecodeError(f"JSON is malformed: expected one value (byte {begin})")

    def _array(self, item: Any, begin: int, path: str) -> list[Any]:
        made: list[Any] = []
        _pieces.hide(made)
        for start, end, _, inner in pace(self._outline.parts(begin)):
            if inner is None:
                text = b"[" + self._data[start:end] + b"]"
                made += self._whole(list[item], text, path, start - 1, len(made))
            else:
                self._between(start, inner)
                self._between(self._outline.end(inner), end)
                made.append(self._large(item, inner, f"{path}[{len(made)}]"))
        return made

    def _mapping(self, begin: int, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for start, end, _, inner in pace(self._outline.parts(begin)):
            if inner is None:
                made.update(self._whole(dict[str, Any], b"{" + self._data[start:end] + b"}", path, start - 1))
            else:
                name = self._name(start, end, inner, path)
                made[name] = self._large(Any, inner, f"{path}.{name}" if path else name)
        return made

    def _name(self, start: int, end: int, inner: int, path: str) -> str:
        """That of a member whose value is a large container."""
        self._between(self._outline.end(inner), end)
        found = self._read(_names, b"{" + self._data[start:inner] + b"null}", start - 1)
        return str(next(iter(found)))

    def _object(self, kind: Any, classes: list[Any], begin: int, path: str) -> Any:
        small: dict[str, msgspec.Raw] = {}
        large: dict[str, int] = {}
        for start, end, _, inner in self._outline.parts(begin):
            if inner is None:
                found = self._read(_raws, b"{" + self._data[start:end] + b"}", start - 1)
                small.update(found)
                for name in found:
                    large.pop(name, None)
            else:
                name = self._name(start, end, inner, path)
                large[name] = inner
                small.pop(name, None)
        cls = self._class(kind, classes, small, path)
        known, arguments = fields(cls), {}
        for name in pace([*small, *large]):
            at = f"{path}.{name}" if path else name
            if name not in known:
                raise PieceError(msgspec.ValidationError(f"Object contains unknown field `{name}`"), path)
            inner_kind, _, field = known[name]
            if name in large:
                arguments[field] = self._large(inner_kind, large[name], at)
                continue
            arguments[field] = self._whole(inner_kind, bytes(small[name]), at)
            if arguments[field] is None and not known[name][1]:
                self.nulls.append(at)
        for name, (_, _, field) in known.items():
            if field not in arguments and field in required(cls):
                raise PieceError(msgspec.ValidationError(f"Object missing required field `{name}`"), path)
        return cls(**arguments)

    def _class(self, kind: Any, classes: list[Any], small: dict[str, msgspec.Raw], path: str) -> Any:
        """The class that the tag chooses. Takes the tag away."""
        tagged = [c for c in classes if c.__struct_config__.tag is not None]
        if not tagged:
            return classes[0]
        raw = small.pop(TAG, None)
        if raw is None and len(classes) == 1:
            return classes[0]
        for cls in classes:
            if raw is not None and msgspec.json.encode(cls.__struct_config__.tag) == bytes(raw).strip():
                return cls
        text = b"{}" if raw is None else b'{"' + TAG.encode() + b'":' + bytes(raw) + b"}"
        self._whole(kind, text, path)  # which raises
        raise AssertionError(f"no class of {kind} has the tag {text!r}")


_names = msgspec.json.Decoder(dict[str, None])
_raws = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


@functools.cache
def required(cls: Any) -> frozenset[str]:
    """The names of the fields that must be there."""
    return frozenset(f.name for f in msgspec.structs.fields(cls) if f.required)


@functools.cache
def _untyped(kind: Any) -> msgspec.json.Decoder[Any]:
    return _anything if kind is Any else msgspec.json.Decoder(kind)


def loads(data: bytes | str) -> Any:
    """``msgspec.json.decode`` without a type. Raises msgspec.DecodeError."""
    loop = waiting(len(data))
    if loop is None:
        return msgspec.json.decode(data)
    text = data.encode() if isinstance(data, str) else data
    try:
        return Decoder(_untyped, text, nulls=False).decode(Any, loop)
    except PieceError as error:
        raise msgspec.DecodeError(str(error)) from None


# --- encoding -----------------------------------------------------------------------------------------------------


def encode(encoder: msgspec.json.Encoder, value: Any) -> bytes:
    """``encoder.encode(value)``, with breaths where a loop would have to wait."""
    if _pieces is None or current() is None:
        return encoder.encode(value)
    return _encoded(encoder, value)


_plain = msgspec.json.Encoder()


def encode_any(value: Any) -> bytes:
    """``msgspec.json.encode`` in the same way."""
    return encode(_plain, value)


def _encoded(encoder: msgspec.json.Encoder, value: Any) -> bytes:
    if _pieces.weight(value, PIECE) < PIECE:
        return encoder.encode(value)
    if isinstance(value, list):
        return _encoded_list(encoder, value)
    if isinstance(value, dict):
        return encoder.encode({name: _piece(encoder, one) for name, one in pace(list(value.items()))})
    if isinstance(value, msgspec.Struct) and not value.__struct_config__.array_like:
        made = copy.copy(value)
        for name in pace(value.__struct_fields__):
            setattr(made, name, _piece(encoder, getattr(value, name)))
        return encoder.encode(made)
    return encoder.encode(value)


def _piece(encoder: msgspec.json.Encoder, value: Any) -> Any:
    """The same; what is large as its text."""
    large = isinstance(value, list | dict | msgspec.Struct) and _pieces.weight(value, PIECE) >= PIECE
    return msgspec.Raw(_encoded(encoder, value)) if large else value


def _encoded_list(encoder: msgspec.json.Encoder, items: list[Any]) -> bytes:
    parts: list[bytes] = []
    group: list[Any] = []
    size = 0
    for one in pace(items):
        weight = _pieces.weight(one, PIECE)
        if group and size + weight >= PIECE:
            parts.append(encoder.encode(group)[1:-1])
            group, size = [], 0
        if weight >= PIECE:
            parts.append(_encoded(encoder, one))
        else:
            group.append(one)
            size += weight
    if group:
        parts.append(encoder.encode(group)[1:-1])
    return b"[" + b",".join(parts) + b"]"
