"""msgpack, CBOR and MIME."""

from __future__ import annotations

import datetime
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import Any

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service_utils.formats import (
    BadData,
    cbor_decode,
    cbor_encode,
    media_type,
    mime,
    mime_decode,
    msgpack_decode,
    msgpack_encode,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(VALUES)
def test_round_trips(value: Any) -> None:
    assert msgpack_decode(msgpack_encode(value)) == value
    assert cbor_decode(cbor_encode(value)) == value


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_anything(data: bytes) -> None:
    for function in (msgpack_decode, cbor_decode):
        with suppress(BadData):
            function(data)


def test_more_kinds() -> None:
    class Item(msgspec.Struct):
        id: uuid.UUID
        price: Decimal
        at: datetime.datetime

    item = Item(uuid.UUID(int=5), Decimal("1.50"), datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC))
    assert msgpack_decode(msgpack_encode(item), Item) == item
    plain = [item.id, item.price, item.at, 2**100, {1, 2}]
    assert cbor_decode(cbor_encode(plain)[:0] + cbor_encode(plain[:4])) == plain[:4]
    assert cbor_encode({"b": 1, "a": 2}, canonical=True) == cbor_encode({"a": 2, "b": 1}, canonical=True)
    large = list(range(100_000))
    assert gevent.spawn(lambda: msgpack_decode(msgpack_encode(large))).get() == large
    assert gevent.spawn(lambda: cbor_decode(cbor_encode(large))).get() == large
    with pytest.raises(BadData, match="Expected"):
        msgpack_decode(msgpack_encode({"id": 5}), Item)
    for function in (msgpack_encode, cbor_encode):
        with pytest.raises(TypeError):
            function(object())


def test_hostile() -> None:
    deep = b"\x81" * 100_000
    for data in (b"", deep, b"\xdd\xff\xff\xff\xff", b"\xc1", msgpack_encode(1) + b"x"):
        with pytest.raises(BadData):
            msgpack_decode(data)
    for data in (
        b"", deep, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xff",
        b"\xa2\x01\x02\x01\x03", b"\xa2\x61a\x02\x61a\x03", cbor_encode(1) + b"\x01",
        b"\xd8\x1d\x05", b"\xd8\x23\x65(a+)+", b"\xd8\x1c\x81\xd8\x1d\x00", b"\xa1\x01\x02",
        b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x00",
    ):  # fmt: skip
        with pytest.raises(BadData):
            cbor_decode(data)
    assert cbor_decode(b"\xa1\x01\x02", any_keys=True) == {1: 2}
    for function in (msgpack_decode, cbor_decode, mime_decode):
        with pytest.raises(BadData, match="max_size"):
            function(b"x" * 11, max_size=10)


def test_mime() -> None:
    read = mime_decode(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/plain\r\n\r\nbody")
    assert (read["Subject"], read.get_content()) == ("grüße", "body")
    parts = b"".join(b"--b\r\n\r\nx\r\n" for _ in range(1200))
    with pytest.raises(BadData, match="more than 1000 parts"):
        mime_decode(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--")
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2000))
    with pytest.raises(BadData):
        mime_decode(nested)
    assert media_type("a.txt") == "text/plain"
    assert media_type("a.txt", b"%PDF-1.7") == "application/pdf"
    assert media_type("a.xlsx", b"PK\x03\x04").endswith("spreadsheetml.sheet")
    assert media_type("a") == "application/octet-stream"


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"To: " + b"(" * 5000, "too deeply"),
        (b"Subject: " + b"=?utf-8?q?a?= " * 20_000, "max_field"),
        (b"Content-Type: text/plain" + b"; a*0=b" * 5000, "max_field"),
        (b"X-A: b\r\n" * 3000 + b"X-B: c", "header fields"),
    ],
    ids=["comments", "words", "parameters", "fields"],
)
def test_header_fields_that_take_too_long(head: bytes, why: str) -> None:
    """Not when they are asked for, in a greenlet that holds up its hub, but before."""
    with pytest.raises(BadData, match=why):
        mime_decode(head + b"\r\n\r\nbody")
    part = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + head + b"\r\n\r\nbody\r\n--b--\r\n"
    with pytest.raises(BadData, match=why):
        mime_decode(part)


def test_endless_parts_are_not_made() -> None:
    made: list[int] = []

    class Counted(mime.EmailMessage):
        def __init__(self, policy: Any) -> None:
            super().__init__(policy)
            made.append(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mime, "EmailMessage", Counted)
        with pytest.raises(BadData, match="more than 1000 parts"):
            mime_decode(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 20_000)
    assert len(made) <= 1002


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_field_can_be_read(values: list[bytes]) -> None:
    """Of a message that is not refused."""
    names = (b"To", b"Subject", b"Date", b"Content-Type")
    fields = [name + b": " + value.replace(b"\n", b" ") for name, value in zip(names, values, strict=False)]
    head = b"".join(field + b"\r\n" for field in fields)
    with suppress(BadData):
        for name, value in mime_decode(head + b"\r\nbody").items():
            assert isinstance(f"{name}: {value}", str)


def test_a_message_is_kept_as_it_was() -> None:
    raw = b"Subject: two   spaces\r\nX-Folded: a\r\n\tb\r\n\r\nbody\r\n"
    assert mime_decode(raw).as_bytes().replace(b"\r\n", b"\n") == raw.replace(b"\r\n", b"\n")
