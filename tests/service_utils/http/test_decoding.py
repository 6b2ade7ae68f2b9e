"""Content codings: however the data is cut, the same comes out, in bounded pieces; damage is seen."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_utils.http.decoding import MAX_WINDOW, decode
from service_utils.http.errors import ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "br": lambda data: brotli.compress(data, quality=1),
}
data = st.one_of(st.binary(max_size=300), st.integers(0, 300_000).map(bytes))


@given(st.sampled_from(sorted(ENCODERS)), data, st.integers(1, 400))
def test_cut_anywhere(coding: str, plain: bytes, step: int) -> None:
    encoded = ENCODERS[coding](plain)
    pieces = list(decode(iter([encoded[n : n + step] for n in range(0, len(encoded), step)]), coding))
    assert b"".join(pieces) == plain
    assert all(0 < len(piece) <= 1 << 17 for piece in pieces)


@given(st.sampled_from(sorted(ENCODERS)), st.binary(min_size=1, max_size=100), st.data())
def test_cut_off_and_damaged(coding: str, plain: bytes, choice: st.DataObject) -> None:
    encoded = ENCODERS[coding](plain)
    length = choice.draw(st.integers(1, len(encoded) - 1))
    with pytest.raises(ProtocolError):
        list(decode(iter([encoded[:length]]), coding))
    with pytest.raises(ProtocolError):
        list(decode(iter([encoded, b"\1\2\3"]), coding))


@given(st.sampled_from([*ENCODERS, "gzip, br", "identity"]), st.lists(st.binary(max_size=50), max_size=4))
def test_noise(coding: str, pieces: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        list(decode(iter(pieces), coding))


def test_nothing_is_nothing() -> None:
    for coding in ENCODERS:
        assert list(decode(iter([]), coding)) == []
    with pytest.raises(ProtocolError, match="encoded as 'x', which was not asked for"):
        decode(iter([]), "gzip, x")


def test_windows_have_a_limit() -> None:
    """What a zstd frame wants to have kept in memory while it is read; RFC 9659."""
    for log, fits in ((MAX_WINDOW, True), (MAX_WINDOW + 1, False)):
        compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        data = compressor.compress(b"x" * 100_000) + compressor.compress(b"y" * 100_000) + compressor.flush()
        if fits:
            assert sum(map(len, decode(iter([data]), "zstd"))) == 200_000
        else:
            with pytest.raises(ProtocolError):
                list(decode(iter([data]), "zstd"))
