"""Base64 and hex: what the standard library says, in any pieces; and errors that name the place."""

import base64
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efio import codecs

variants = st.fixed_dictionaries({"urlsafe": st.booleans(), "padded": st.booleans()})


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(at)]


def in_pieces(codec: Any, pieces: list[bytes]) -> bytes:
    return b"".join([*map(codec.update, pieces), codec.finish()])


@given(st.binary(max_size=200), variants)
def test_base64_is_the_standard(data: bytes, variant: dict[str, bool]) -> None:
    expected = (base64.urlsafe_b64encode if variant["urlsafe"] else base64.b64encode)(data)
    if not variant["padded"]:
        expected = expected.rstrip(b"=")
    assert codecs.b64encode(data, **variant) == expected
    assert codecs.b64decode(expected, **variant) == data
    assert codecs.b64decode(expected.decode(), **variant) == data
    assert codecs.b64decode(memoryview(expected), **variant) == data


@given(st.binary(max_size=60), variants, st.lists(st.integers(0, 100), max_size=8))
def test_base64_in_pieces(data: bytes, variant: dict[str, bool], cuts: list[int]) -> None:
    encoder, decoder = codecs.Base64Encoder(**variant), codecs.Base64Decoder(**variant)
    for _ in range(2):  # after finish() they are as new
        text = in_pieces(encoder, cut(data, cuts))
        assert text == codecs.b64encode(data, **variant)
        assert in_pieces(decoder, cut(text, cuts)) == data


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=8))
def test_hex_in_pieces(data: bytes, cuts: list[int]) -> None:
    text = in_pieces(codecs.HexEncoder(), cut(data, cuts))
    assert text == codecs.hexencode(data) == data.hex().encode()
    assert codecs.hexdecode(text.upper()) == codecs.hexdecode(text.decode()) == data
    decoder = codecs.HexDecoder()
    for _ in range(2):
        assert in_pieces(decoder, cut(text, cuts)) == data


@given(st.text(alphabet="AQb/+-_=é\n", max_size=12), variants, st.lists(st.integers(0, 20), max_size=4))
def test_what_is_accepted_is_what_encoding_returns(text: str, variant: dict[str, bool], cuts: list[int]) -> None:
    def outcome(function: Any) -> Any:
        try:
            return function()
        except codecs.CodecError as error:
            return type(error)

    whole = outcome(lambda: codecs.b64decode(text, **variant))
    if whole is not codecs.CodecError:
        assert codecs.b64encode(whole, **variant).decode() == text
    if text.isascii():
        pieces = cut(text.encode(), cuts)
        assert outcome(lambda: in_pieces(codecs.Base64Decoder(**variant), pieces)) == whole


FOREIGN = "the character '!' does not belong to it"
BASE64 = [
    ("AA!A", {}, FOREIGN, 2),
    ("AAAAA!==", {}, FOREIGN, 5),
    ("AAé=", {}, "the character 'é' does not belong to it", 2),
    ("AA\nAA", {}, "the character '\\n' does not belong to it", 2),
    ("AA-A", {}, "the character '-' does not belong to it", 2),
    ("AA+A", {"urlsafe": True}, "the character '+' does not belong to it", 2),
    ("AAAAA", {}, "a single character is left, which is no byte", 4),
    ("A===", {}, "a single character is left, which is no byte", 0),
    ("AAAAA", {"padded": False}, "a single character is left, which is no byte", 4),
    ("AAAAAA", {}, "padding is missing", 6),
    ("AA=", {}, "padding is missing", 3),
    ("AA==", {"padded": False}, "padding where none is expected", 2),
    ("AAAA=", {}, "padding where none is needed", 4),
    ("AA==AA==", {}, "something after the padding", 4),
    ("AAA==", {}, "something after the padding", 4),
    ("QR==", {}, "bits that are not zero after the last byte", 1),
    ("AAAAQQF", {"padded": False}, "bits that are not zero after the last byte", 6),
]


@pytest.mark.parametrize(("text", "variant", "reason", "position"), BASE64)
def test_base64_errors(text: str, variant: dict[str, bool], reason: str, position: int) -> None:
    with pytest.raises(codecs.CodecError) as caught:
        codecs.b64decode(text, **variant)
    name = "base64url" if variant.get("urlsafe") else "base64"
    assert (caught.value.codec, caught.value.reason, caught.value.position) == (name, reason, position)
    assert str(caught.value) == f"{name}: {reason} at position {position}"
    assert isinstance(caught.value, ValueError)


def test_errors_of_later_pieces_count_from_the_beginning() -> None:
    base = codecs.Base64Decoder()
    assert base.update("AAAAA") == bytes(3)
    with pytest.raises(codecs.CodecError, match=r"'!' does not belong to it at position 6"):
        base.update("A!AA")
    ended = codecs.Base64Decoder()
    ended.update("AA==")
    with pytest.raises(codecs.CodecError, match=r"something after the padding at position 4"):
        ended.update("AAAA")
    digits = codecs.HexDecoder()
    assert digits.update("000") == b"\0"
    with pytest.raises(codecs.CodecError, match=r"hex: the character 'x' does not belong to it at position 4"):
        digits.update("0xx")


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [("0g", "the character 'g' does not belong to it", 1), ("000", "a single digit is left, which is no byte", 2),
     ("0 0", "the character ' ' does not belong to it", 1), ("00ü0", "the character 'ü' does not belong to it", 2)],
)  # fmt: skip
def test_hex_errors(text: str, reason: str, position: int) -> None:
    with pytest.raises(codecs.CodecError) as caught:
        codecs.hexdecode(text)
    assert (caught.value.reason, caught.value.position) == (reason, position)


def test_a_single_digit_at_the_end() -> None:
    decoder = codecs.HexDecoder()
    decoder.update("000")
    with pytest.raises(codecs.CodecError, match=r"a single digit is left, which is no byte at position 2"):
        decoder.finish()
