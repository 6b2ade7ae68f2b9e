"""JSON nulls where nothing can be nil.

null is xsi:nil, and what is absent is left out; but to msgspec a field that is None when it is absent may be null, too.
So a text with a null in it (few have one) is decoded once more, without types, and compared with the classes.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any, Union, get_args, get_origin

import msgspec

from schema.errors import Problem, ValidationError

__all__ = ["TAG", "fields", "find_nulls", "members", "refuse", "refuse_nulls"]

TAG = "@xsi:type"


@functools.cache
def fields(cls: Any) -> dict[str, tuple[Any, bool, str]]:
    """Of each member the type, whether it may be null, and the field's name."""
    found = {}
    for f in msgspec.structs.fields(cls):
        absent_is_none = not f.required and f.default is None
        found[f.encode_name] = (f.type, not absent_is_none and type(None) in members(f.type), f.name)
    return found


def members(kind: Any) -> tuple[Any, ...]:
    """The types of a union; of another type, itself alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def find_nulls(kind: Any, value: Any, path: str, first: int = 0) -> Iterator[str]:
    """The paths of nulls where nothing can be nil. ``first``: the number of the first item of a list."""
    choices = members(kind)
    if isinstance(value, list):
        items = [inner for member in choices if get_origin(member) is list for inner in get_args(member)]
        for number, one in enumerate(value, first):
            if one is None and items and type(None) not in members(items[0]):
                yield f"{path}[{number}]"
            elif one is not None and items:
                yield from find_nulls(items[0], one, f"{path}[{number}]")
    elif isinstance(value, dict):
        classes = [m for m in choices if isinstance(m, type) and issubclass(m, msgspec.Struct)]
        tagged = [m for m in classes if m.__struct_config__.tag == value.get(TAG, ...)]
        for name, (inner, nullable, _) in fields((tagged or classes)[0]).items() if classes else ():
            if name in value:
                at = f"{path}.{name}" if path else name
                if value[name] is not None:
                    yield from find_nulls(inner, value[name], at)
                elif not nullable:
                    yield at


def refuse_nulls(kind: Any, data: bytes | str) -> None:
    """Raises ValidationError for every null in a text that can be decoded as ``kind`` and says null where it cannot be
    nil.
    """
    refuse(list(find_nulls(kind, msgspec.json.decode(data), "")))


def refuse(paths: Sequence[str]) -> None:
    """Raises ValidationError if there are any nulls."""
    problems = [Problem("wrong-type", "Got `null`: what is absent is left out", path) for path in paths[:100]]
    if problems:
        raise ValidationError(problems, more=len(paths) - len(problems))
