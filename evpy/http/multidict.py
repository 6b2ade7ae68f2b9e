"""A read-only mapping in which a name may have several values: query strings, forms, header fields.

It is a ``Mapping`` of names to *first* values, so that everything that knows dictionaries knows it; the other values
are there when asked for. The first value and not the last one, because that is what HTTP's own rules do with repeated
fields, and because an attacker who can append to a URL then cannot override what stands before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar, overload

from evpy.errors import HTTPError

V = TypeVar("V")
D = TypeVar("D")


class MissingField(HTTPError, KeyError):
    """A query parameter or form field that the client did not send: 400, unless the handler catches it."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(400, f"{what} {name!r} is missing")
        self.args = (what, name)


class MultiDict(Mapping[str, V], Generic[V]):
    """Names with one or more values each, in the order of their arrival.

    ``m[name]`` and ``m.get(name)`` give the first value, ``m.get_all(name)`` all of them, ``m.pairs()`` every
    name-value pair in order; ``len(m)``, iteration, ``keys()``, ``values()`` and ``items()`` see each name once. With
    ``what`` (as in "query parameter") an absent name raises MissingField (an HTTPError 400 that is also a KeyError),
    otherwise KeyError.
    """

    __slots__ = ("_index", "_pairs", "_what")

    def __init__(self, pairs: Iterable[tuple[str, V]] = (), *, what: str = "") -> None:
        self._pairs = list(pairs)
        self._what = what
        self._index = self._make_index()

    def _make_index(self) -> dict[str, list[V]]:
        index: dict[str, list[V]] = {}
        for name, value in self._pairs:
            index.setdefault(self._key(name), []).append(value)
        return index

    @staticmethod
    def _key(name: str) -> str:
        return name

    def __getitem__(self, name: str) -> V:
        values = self._index.get(self._key(name))
        if values is None:
            raise MissingField(self._what, name) if self._what else KeyError(name)
        return values[0]

    @overload
    def get(self, name: str, /) -> V | None: ...
    @overload
    def get(self, name: str, /, default: V) -> V: ...
    @overload
    def get(self, name: str, /, default: D) -> V | D: ...
    def get(self, name: str, /, default: D | None = None) -> V | D | None:
        values = self._index.get(self._key(name))
        return default if values is None else values[0]

    def get_all(self, name: str) -> list[V]:
        """All values of this name in order; an empty list when there is none."""
        return list(self._index.get(self._key(name), ()))

    def pairs(self) -> list[tuple[str, V]]:
        """Every (name, value) in order, repeated names included."""
        return list(self._pairs)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._key(name) in self._index

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MultiDict):
            return self._index == other._index
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as dict: equal by content, and Headers can change

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pairs!r})"
