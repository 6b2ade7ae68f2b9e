"""Fields of objects by any of their names: that of Python, or that of JSON with or without its ``@``."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["field_of", "member_path"]

# What leads from a value into the interpreter.
_INNER = (types.FunctionType, types.GeneratorType, types.CodeType, types.FrameType, types.ModuleType, type)


def _names(value: msgspec.Struct) -> dict[str, str]:
    """Every name of a field to its name in JSON."""
    plain = {name.removeprefix("@"): name for name in value.__struct_encode_fields__}
    exact = {name: name for name in value.__struct_encode_fields__}
    return plain | exact | dict(zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True))


def field_of(value: Any, name: str) -> Any:
    """The value of a field; None when it, or the object, is absent. Raises AttributeError for what is no field."""
    if value is None or value is msgspec.UNSET:
        return None
    if isinstance(value, Mapping):
        found = value.get(name)
    elif isinstance(value, _INNER):
        raise AttributeError(f"{name!r} of a {type(value).__name__} is out of reach")
    elif isinstance(value, msgspec.Struct) and name not in value.__struct_fields__:
        member = _names(value).get(name)
        if member is None:
            fields = ", ".join(value.__struct_fields__)
            raise AttributeError(f"{type(value).__name__} has no field {name!r}; it has {fields}")
        found = getattr(value, value.__struct_fields__[value.__struct_encode_fields__.index(member)])
    else:
        found = getattr(value, name)
    return None if found is msgspec.UNSET else found


def member_path(value: Any, path: str) -> str:
    """A path of field names as one of JSON members, as far as they are fields: ``line_items[3].unit`` to
    ``lineItems[3].@unit``.
    """
    members = []
    for step in path.split(".") if path else ():
        name, bracket, rest = step.partition("[")
        if isinstance(value, msgspec.Struct):
            known = _names(value).get(name)
            value = field_of(value, name) if known is not None else None
            name = known or name
            index = rest.rstrip("]")
            if isinstance(value, list) and index.isdigit():
                value = value[int(index)] if int(index) < len(value) else None
        members.append(name + bracket + rest)
    return ".".join(members)
