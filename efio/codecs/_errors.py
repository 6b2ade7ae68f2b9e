"""What is wrong with the data, and where."""

from typing import TypeAlias

__all__ = ["Bytes", "CodecError", "Text", "as_bytes"]

Bytes: TypeAlias = bytes | bytearray | memoryview
Text: TypeAlias = str | bytes | bytearray | memoryview


class CodecError(ValueError):
    """The data is not what the codec can decode."""

    def __init__(self, codec: str, reason: str, position: int) -> None:
        super().__init__(codec, reason, position)
        self.codec = codec
        self.reason = reason
        self.position = position  # bytes or characters from the beginning, over all pieces

    def __str__(self) -> str:
        return f"{self.codec}: {self.reason} at position {self.position}"


def as_bytes(codec: str, text: Text, offset: int = 0) -> Bytes:
    """The characters of a text that has only ASCII ones."""
    if not isinstance(text, str):
        return text
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        bad = text[error.start]
        raise CodecError(codec, f"the character {bad!r} does not belong to it", offset + error.start) from None
