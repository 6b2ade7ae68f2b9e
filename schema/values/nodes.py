"""Elements that no type describes: what wildcards let through, and xs:anyType."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = ["AnyElement"]


class AnyElement(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """An element as it was. In JSON an array: ``[name, attributes, content, namespaces]``.

    Names are in Clark notation. ``content`` holds texts and elements in order. ``namespaces`` are the declarations
    (prefix to URI) that texts and attribute values in it may refer to, such as xsi:type's; usually empty.
    """

    name: str
    attributes: dict[str, str] = {}
    content: list[str | AnyElement] = []
    namespaces: dict[str, str] = {}

    @property
    def text(self) -> str:
        """All text in it and below."""
        return "".join(self._texts())

    def _texts(self) -> Iterator[str]:
        for item in self.content:
            if isinstance(item, str):
                yield item
            else:
                yield from item._texts()
