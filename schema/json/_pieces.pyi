"""Where large JSON can be taken apart; see _pieces.pyx."""

from collections.abc import Iterator

class Outline:
    """The large containers of a text."""

    wrong: int
    root: int | None
    def __init__(self, text: bytes, piece: int) -> None: ...
    def scan(self) -> Outline:
        """Does it. Returns itself."""
    def end(self, begin: int) -> int:
        """Where the large container that begins there ends."""
    def parts(self, begin: int) -> Iterator[tuple[int, int, int, int | None]]:
        """Of a large container: (begin, end, how many items, where a large item begins or None)."""

def weight(value: object, most: int) -> int:
    """About how many bytes the JSON of a value will have; ``most``, or a little more, when it is more."""

def hide(value: object) -> None:
    """Takes what msgspec has decoded out of the garbage collector's sight."""
