"""BadgerFish: XML in JSON by a fixed rule, without regard to the schema.

``{"order": {"@xmlns": {"$": "urn:o"}, "@id": "1", "item": [{"$": "bolt"}, {"$": "nut"}]}}``: the root has a wrapper,
names keep their prefixes, attributes are ``@name``, text is ``$``, namespaces are declared in ``@xmlns`` where XML
declares them (``$`` is the default one); elements of one name that stand next to each other are an array. Source: the
rules at badgerfish.ning.com, as the BadgerFish converters of other libraries follow them.

They have no answer where order counts: text between elements, and elements of one name with others between them. There,
and only there, ``$`` is an array of texts and one-member objects in order, so that nothing is lost.

Reading writes down the XML that is meant, name by name; libxml2 parses and judges it as any other document.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec
from lxml import etree

from schema.errors import LimitExceeded, Problem, ValidationError
from schema.json.natural import json_name
from schema.json.pieces import encode_any, loads
from schema.runtime.offload import begin, pace
from schema.runtime.release import let_go
from schema.runtime.writing import esc, esc_attribute

__all__ = ["decode", "encode", "path"]

_NAME = re.compile(r"(?:(?!\d)[\w\-.\u00b7]+:)?(?!\d)[\w\-.\u00b7]+")
_XML = "http://www.w3.org/XML/1998/namespace"


# --- from a tree --------------------------------------------------------------------------------------------------


def encode(root: etree._Element) -> bytes:
    """The JSON of a tree in which all white space counts (one that our writers wrote)."""
    begin()
    value = _object(root, {})
    made = encode_any({_name(root): value})
    let_go(value)
    return made


def _name(element: etree._Element) -> str:
    name = str(element.tag).rpartition("}")[2]
    return f"{element.prefix}:{name}" if element.prefix else name


def _object(element: etree._Element, outer: dict[str, str]) -> dict[str, Any]:
    scope = {prefix or "$": uri or "" for prefix, uri in element.nsmap.items()}
    scope.setdefault("$", "")
    made: dict[str, Any] = {}
    if declared := {prefix: uri for prefix, uri in scope.items() if outer.get(prefix, "") != uri}:
        made["@xmlns"] = declared
    for name, value in element.items():
        uri, _, local = str(name).rpartition("}")
        made[f"@{_prefix(scope, uri[1:])}{local}"] = str(value)
    children = list(element)
    names = [_name(child) for child in pace(children)]
    if not children:
        if element.text:
            made["$"] = element.text
    elif element.text or any(child.tail for child in children) or not _together(names):
        ordered: list[Any] = [element.text] if element.text else []
        made["$"] = ordered
        for name, child in zip(names, pace(children), strict=True):
            ordered.append({name: _object(child, scope)})
            if child.tail:
                ordered.append(child.tail)
    else:
        for name, child in zip(names, pace(children), strict=True):
            inner = _object(child, scope)
            if name not in made:
                made[name] = inner
            elif isinstance(made[name], list):
                made[name].append(inner)
            else:
                made[name] = [made[name], inner]
    return made


def _prefix(scope: dict[str, str], uri: str) -> str:
    if not uri:
        return ""
    return "xml:" if uri == _XML else next(f"{p}:" for p, known in scope.items() if known == uri and p != "$")


def _together(names: list[str]) -> bool:
    changes = sum(a != b for a, b in itertools.pairwise(names))
    return changes == len(set(names)) - 1


# --- to a document ------------------------------------------------------------------------------------------------


def decode(data: bytes | str) -> bytes:
    """The document that is meant, not judged yet. Raises ValidationError."""
    begin()
    try:
        value = loads(data)
        if not isinstance(value, dict) or len(value) != 1:
            raise _wrong("Expected an object with one member, the root element", "")
        ((name, content),) = value.items()
        out: list[str] = ["<?xml version='1.0' encoding='UTF-8'?>\n"]
        _element(out, name, content, name)
        del content
        let_go(value)
        return "".join(out).encode(errors="surrogatepass")
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValidationError([Problem("json-not-well-formed", str(error))]) from None
    except RecursionError:
        raise LimitExceeded([Problem("limit", "the JSON is nested too deeply")]) from None


def _wrong(message: str, where: str) -> ValidationError:
    return ValidationError([Problem("wrong-type", message, where)])


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise _wrong("Expected a string, a number or a boolean", where)


def _checked(name: str, where: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValidationError([Problem("unknown-member", f"{name!r} is no name of an element or attribute", where)])
    return name


def _element(out: list[str], name: str, value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(f"Expected an object, got `{json_name(value)}`", where)
    out.append(f"<{_checked(name, where)}")
    for member, inner in value.items():
        if member == "@xmlns":
            if not isinstance(inner, dict):
                raise _wrong("Expected an object of prefixes and namespaces", f"{where}.@xmlns")
            for prefix, uri in inner.items():
                declared = "xmlns" if prefix == "$" else f"xmlns:{_checked(prefix, where)}"
                out.append(f' {declared}="{esc_attribute(_scalar(uri, f"{where}.@xmlns.{prefix}"))}"')
        elif member.startswith("@"):
            at = f"{where}.{member}"
            out.append(f' {_checked(member[1:], at)}="{esc_attribute(_scalar(inner, at))}"')
    out.append(">")
    for member, inner in value.items():
        at = f"{where}.{member}"
        if member == "$":
            _text(out, inner, at)
        elif not member.startswith("@"):
            for number, one in enumerate(pace(inner)) if isinstance(inner, list) else [(-1, inner)]:
                _element(out, member, one, at if number < 0 else f"{at}[{number}]")
    out.append(f"</{name}>")


def _text(out: list[str], value: Any, where: str) -> None:
    if not isinstance(value, list):
        out.append(esc(_scalar(value, where)))
        return
    for number, item in enumerate(pace(value)):
        at = f"{where}[{number}]"
        if isinstance(item, dict):
            if len(item) != 1:
                raise _wrong("Expected an object with one member, an element", at)
            ((name, content),) = item.items()
            _element(out, name, content, f"{at}.{name}")
        else:
            out.append(esc(_scalar(item, at)))


def path(xml: str) -> str:
    """``order.item[2].qty`` for ``/order/item[3]/qty``."""
    return re.sub(r"\[(\d+)\]", lambda m: f"[{int(m[1]) - 1}]", xml.lstrip("/").replace("/", "."))
