"""msgpack by msgspec, CBOR (RFC 8949) by cbor2: whole values, large ones in a thread of efio's pool.

What is read may come from anybody: sizes and depths are limited, keys of maps are texts, bytes or (in msgpack) numbers,
in CBOR none comes twice (in msgpack the last one counts), and CBOR's tags make nothing but dates, numbers, UUIDs and
the like: no cycles, no regular expressions.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar, overload

import msgspec

from service_utils.formats.errors import BadData
from service_utils.formats.offload import sized

__all__ = ["cbor_decode", "cbor_encode", "msgpack_decode", "msgpack_encode"]

T = TypeVar("T")
MAX_SIZE = 64 * 1024 * 1024  # bytes
MAX_DEPTH = 100
_REFUSED = 28, 29, 35  # CBOR's tags for values that contain themselves, and for regular expressions


def msgpack_encode(value: Any) -> bytes:
    """Also dataclasses, Structs, datetimes, UUIDs, Decimals. TypeError for what has no form in msgpack."""
    return msgspec.msgpack.encode(value)


@overload
def msgpack_decode(data: bytes, into: type[T], *, max_size: int = ...) -> T: ...
@overload
def msgpack_decode(data: bytes, *, max_size: int = ...) -> Any: ...
def msgpack_decode(data: bytes, into: Any = Any, *, max_size: int = MAX_SIZE) -> Any:
    """The value, checked against the type ``into`` if there is one. BadData."""
    _limit(data, max_size)
    try:
        return sized(len(data), _unpack, data, into)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise BadData(f"not msgpack that can be read: {error}") from None


def _unpack(data: bytes, into: Any) -> Any:
    return msgspec.msgpack.decode(data, type=into)


def cbor_encode(value: Any, *, canonical: bool = False) -> bytes:
    """``canonical``: equal values have equal bytes. TypeError for what has no form in CBOR."""
    cbor2 = _cbor2()
    try:
        return bytes(cbor2.dumps(value, canonical=canonical, timezone=None))
    except cbor2.CBOREncodeError as error:
        raise TypeError(f"this has no form in CBOR: {error}") from None


def cbor_decode(data: bytes, *, max_size: int = MAX_SIZE, max_depth: int = MAX_DEPTH, any_keys: bool = False) -> Any:
    """The value. BadData, also when something follows it.

    ``any_keys``: maps may have keys that are no texts or bytes. Then whoever made the data can choose numbers whose
    hashes collide, and reading takes long.
    """
    _limit(data, max_size)
    return sized(len(data), _uncbor, data, max_depth, any_keys)


def _uncbor(data: bytes, max_depth: int, any_keys: bool) -> Any:
    import io

    cbor2 = _cbor2()
    file = io.BytesIO(data)
    try:
        decoder = cbor2.CBORDecoder(
            file,
            max_depth=max_depth,
            allow_duplicate_keys=False,
            strict_hashable_types=not any_keys,
            semantic_decoders=dict.fromkeys(_REFUSED, _refuse),
            read_size=1,
        )
        value = decoder.decode()
    except (cbor2.CBORDecodeError, ValueError, RecursionError, OverflowError, TypeError, EOFError) as error:
        raise BadData(f"not CBOR that can be read: {error}") from None
    if file.read(1):
        raise BadData("not CBOR that can be read: something follows the value")
    return value


def _refuse(*_: Any) -> NoReturn:
    raise ValueError("a tag that is not accepted")


def _limit(data: bytes, max_size: int) -> None:
    if len(data) > max_size:
        raise BadData(f"the data has {len(data)} bytes; max_size is {max_size}")


def _cbor2() -> Any:
    try:
        import cbor2
    except ImportError as error:
        raise ImportError(f"CBOR needs cbor2: pip install 'evpy[formats]' ({error})") from error
    return cbor2
