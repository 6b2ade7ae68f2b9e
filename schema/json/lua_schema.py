"""The mapping of lua_schema, for those who have its JSON: from and to the natural mapping, led by the plan.

| XML | JSON |
|---|---|
| simple root | ``{"name": value}``; a complex one has no wrapper |
| attributes | ``_attr.name``; those of a wildcard ``_attr.name = {"ns", "name", "value"}`` |
| text beside attributes | ``_contained_value`` |
| group that repeats | ``_sequence_group``, ``_choice_group``: an array; the object itself, where it has nothing else |
| the same name again | ``name_1``, ``name_2`` |
| mixed content | an array of texts and one-member objects (in ``_contained_value`` beside attributes) |
| wildcard's element, xs:anyType | a string: the JSON of ``["prefix:name", {attributes}, child, ...]`` |
| int, short, byte, unsignedInt ... | numbers; all other integers, and decimals, are strings |
| list, union | their text |

What lua_schema has no form for is added: ``_attr["xsi:type"]`` (the class), ``_attr["xsi:nil"]``, null for nil. An
infinity is ``INF`` (``Inf`` is read, too), declarations in a wildcard's element are called ``xmlns:any_ns1``
(``any_ns1`` is read, too), dates and times are in their usual form, not with three decimals always.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import msgspec

from schema import values as v
from schema.codegen.plan import Class, Field, Plan
from schema.errors import LimitExceeded, Problem, ValidationError
from schema.json.lua_any import any_from_text, any_to_text
from schema.json.pieces import encode_any, loads
from schema.model.components import SimpleType, local
from schema.runtime.offload import begin, pace
from schema.runtime.release import let_go

__all__ = ["LuaSchema"]

_NUMBERS = frozenset({"int", "short", "byte", "unsignedInt", "unsignedShort", "unsignedByte"})
_DIGITS = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INFINITIES = {"Inf": "INF", "-Inf": "-INF"}
_INDEX = re.compile(r"\[[^\]]*\]")


def _wrong(message: str, where: str) -> ValidationError:
    return ValidationError([Problem("wrong-type", message, where.lstrip("."))])


def _number(scope: set[str], name: str) -> str:
    """``name``, or ``name_1`` and so on when it is taken."""
    found = next(n for n in itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1))) if n not in scope)
    scope.add(found)
    return found


class _Shape:
    """The names of one class's members, and whether its objects are arrays."""

    __slots__ = ("array", "attributes", "members", "wild")

    def __init__(self, made: Class) -> None:
        self.attributes: dict[str, Field | None] = {}
        self.members: dict[str, Field] = {}
        self.wild: Field | None = None
        taken, attributes = {"_attr"}, set[str]()
        if made.tagged:
            self.attributes[_number(attributes, "xsi:type")] = None
        if made.nil_field is not None:
            self.attributes[_number(attributes, "xsi:nil")] = made.nil_field
        for f in made.fields:
            if f.kind == "attribute":
                self.attributes[_number(attributes, local(f.xml))] = f
            elif f.kind == "any_attribute":
                self.wild = f
            elif f.kind in ("text", "mixed"):
                self.members[_number(taken, "_contained_value")] = f
            elif f.kind == "group":
                kind = "choice" if f.name.startswith("choice") else "sequence"
                self.members[_number(taken, f"_{kind}_group")] = f
            else:
                self.members[_number(taken, "any" if f.kind == "any" else local(f.xml))] = f
        bare = not self.attributes and self.wild is None and not made.group and len(self.members) == 1
        only = next(iter(self.members.values()), None)
        self.array = only if bare and only is not None and only.kind in ("group", "mixed") else None


class LuaSchema:
    """Translates the JSON of one root element."""

    def __init__(self, plan: Plan, root: str) -> None:
        self._plan = plan
        self._root = plan.roots[root].field
        self._name = local(root)
        self._wrapped = self._root.target is None
        self._shapes: dict[int, _Shape] = {}

    def encode(self, natural: bytes) -> bytes:
        """lua_schema's JSON for the natural one of a valid object."""
        begin()
        decoded = loads(natural)
        value = self._out(self._root, decoded)
        let_go(decoded)
        made = encode_any({self._name: value} if self._wrapped else value)
        let_go(value)
        return made

    def decode(self, data: bytes | str) -> bytes:
        """The natural JSON. Raises ValidationError for what cannot be translated; values are not looked at."""
        begin()
        try:
            value = loads(data)
            if self._wrapped:
                if not isinstance(value, dict) or list(value) != [self._name]:
                    raise _wrong(f"Expected an object with one member, {self._name}", "")
                value = value[self._name]
            natural = self._in(self._root, value, self._name if self._wrapped else "")
            let_go(value)
            made = encode_any(natural)
            let_go(natural)
            return made
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ValidationError([Problem("json-not-well-formed", str(error))]) from None
        except RecursionError:
            raise LimitExceeded([Problem("limit", "the JSON is nested too deeply")]) from None

    def _shape(self, made: Class) -> _Shape:
        found = self._shapes.get(made.number)
        if found is None:
            found = self._shapes[made.number] = _Shape(made)
        return found

    # --- natural to lua_schema -----------------------------------------------------------------------------------

    def _out(self, f: Field, value: Any) -> Any:
        return self._each(f, value, lambda one, _: self._one_out(f, one), "")

    @staticmethod
    def _each(f: Field, value: Any, change: Callable[[Any, str], Any], where: str) -> Any:
        if f.many and isinstance(value, list):
            return [change(one, f"{where}[{number}]") for number, one in enumerate(pace(value))]
        return change(value, where)

    def _one_out(self, f: Field, value: Any) -> Any:
        if value is None:
            return None
        if f.kind == "any" or f.any_type:
            return any_to_text(value)
        if f.target is None:
            return value if f.kind == "mixed" else self._scalar_out(f, value)
        if f.kind == "mixed" and isinstance(value, str):
            return value
        return self._object_out(f.target, value)

    def _scalar_out(self, f: Field, value: Any) -> Any:
        assert f.simple is not None
        t = self._plan.components.types[f.simple]
        assert isinstance(t, SimpleType)
        if isinstance(value, list):
            return " ".join(_text(item) for item in value)
        if t.variety == "union" or (type(value) is int and not self._is_number(f)):
            return _text(value)
        return value

    def _is_number(self, f: Field) -> bool:
        t = self._plan.components.types[str(f.simple)]
        assert isinstance(t, SimpleType)
        assert f.conversion is not None
        return t.builtin in _NUMBERS or f.conversion.annotation == "Float"

    def _object_out(self, target: Class, value: dict[str, Any]) -> Any:
        tag = value.get("@xsi:type")
        made = next((member for member in target.family if member.name == tag), target)
        shape = self._shape(made)
        if shape.array is not None:
            return self._out(shape.array, value.get(shape.array.json, []))
        attributes: dict[str, Any] = {}
        for name, f in shape.attributes.items():
            if (json := "@xsi:type" if f is None else f.json) in value:
                plain = f is None or f is made.nil_field
                attributes[name] = value[json] if plain else self._out(f, value[json])  # type: ignore[arg-type]
        if shape.wild is not None:
            taken = set(shape.attributes)
            for clark, text in value.get(shape.wild.json, {}).items():
                uri, _, name = clark.rpartition("}")
                attributes[_number(taken, name)] = {"ns": uri[1:], "name": name, "value": text}
        found = {"_attr": attributes} if attributes else {}
        for name, f in shape.members.items():
            if f.json in value:
                found[name] = self._out(f, value[f.json])
        return found

    # --- lua_schema to natural -----------------------------------------------------------------------------------

    def _in(self, f: Field, value: Any, where: str) -> Any:
        return self._each(f, value, lambda one, at: self._one_in(f, one, at), where)

    def _one_in(self, f: Field, value: Any, where: str) -> Any:
        if value is None:
            return None
        if f.kind == "any" or f.any_type:
            try:
                return any_from_text(value)
            except (msgspec.DecodeError, TypeError, ValueError) as error:
                raise _wrong(f"Expected an element as a JSON text: {error}", where) from None
        if f.target is None:
            return value if f.kind == "mixed" else self._scalar_in(f, value)
        if f.kind == "mixed" and isinstance(value, str):
            return value
        return self._object_in(f.target, value, where)

    def _scalar_in(self, f: Field, value: Any) -> Any:
        t = self._plan.components.types[str(f.simple)]
        assert isinstance(t, SimpleType)
        assert f.conversion is not None
        kind = f.conversion.annotation
        if not isinstance(value, str):
            return value
        if kind.startswith("list["):
            return [_natural(kind[5:-1], item) for item in value.split()]
        if t.variety != "union" and (kind == "bool" or t.builtin in _NUMBERS):
            return value  # as itself only, not as a text
        return _natural(kind, value)

    def _object_in(self, target: Class, value: Any, where: str) -> dict[str, Any]:
        attributes = value.get("_attr", {}) if isinstance(value, dict) else {}
        if not isinstance(attributes, dict):
            raise _wrong("Expected an object", f"{where}._attr")
        made = next((member for member in target.family if member.name == attributes.get("xsi:type")), target)
        shape = self._shape(made)
        if shape.array is not None:
            if not isinstance(value, list):
                raise _wrong("Expected an array", where)
            return {shape.array.json: self._in(shape.array, value, where)}
        if not isinstance(value, dict):
            raise _wrong("Expected an object", where)
        found: dict[str, Any] = {}
        wild: dict[str, Any] = {}
        for name, one in attributes.items():
            at = f"{where}._attr.{name}"
            if name in shape.attributes:
                f = shape.attributes[name]
                plain = f is None or f is made.nil_field
                found["@xsi:type" if f is None else f.json] = one if plain else self._in(f, one, at)  # type: ignore[arg-type]
            elif shape.wild is None:
                raise ValidationError(
                    [Problem("unknown-member", f"the type has no attribute {name!r}", at.lstrip("."))]
                )
            elif not isinstance(one, dict) or not all(isinstance(one.get(key), str) for key in ("name", "value")):
                raise _wrong("Expected an object with ns, name and value", at)
            else:
                wild[f"{{{one['ns']}}}{one['name']}" if one.get("ns") else one["name"]] = one["value"]
        if shape.wild is not None and wild:
            found[shape.wild.json] = wild
        for name, one in value.items():
            at = f"{where}.{name}"
            if name in shape.members:
                found[shape.members[name].json] = self._in(shape.members[name], one, at)
            elif name != "_attr":
                raise ValidationError([Problem("unknown-member", f"the type has no member {name!r}", at.lstrip("."))])
        if made.tagged:
            found.setdefault("@xsi:type", made.name)
        return found

    # --- paths ---------------------------------------------------------------------------------------------------

    def path(self, natural: str) -> str:
        """Where a path of the natural mapping leads in this one."""
        made, rest = self._root.target, natural
        if self._wrapped:
            return f"{self._name}.{natural}".rstrip(".")
        text = ""
        while rest and made is not None:
            shape = self._shape(made)
            named = [(f"_attr.{name}", f) for name, f in shape.attributes.items() if f is not None]
            named += list(shape.members.items())
            fits = [(name, f) for name, f in named if re.match(rf"{re.escape(f.json)}(?=[.\[]|$)", rest)]
            if not fits:
                break
            name, field = max(fits, key=lambda pair: len(pair[1].json))
            rest = rest[len(field.json) :]
            text = text if field is shape.array else f"{text}.{name}"
            if (index := _INDEX.match(rest)) is not None:
                text, rest = text + index[0], rest[index.end() :]
            rest, made = rest.removeprefix("."), field.target
        steps = [step for step in (text, rest) if step]
        return ".".join(steps).lstrip(".")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return v.write_float(value) if isinstance(value, float) else str(value)


def _natural(kind: str, text: str) -> Any:
    if kind == "bool":
        return _BOOLEANS.get(text, text)
    if kind == "int" and _DIGITS.fullmatch(text):
        return int(text)
    return _INFINITIES.get(text, text) if kind == "Float" else text
