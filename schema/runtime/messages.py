"""libxml2's findings, as problems: stable codes, readable paths, the rule in words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lxml import etree

from schema.errors import Problem
from schema.model.components import local

__all__ = ["Finder", "Paths", "describe", "readable_path", "strip_values"]

# SCHEMAV_CVC_MAXEXCLUSIVE_VALID and the like; these words have capitals inside in the standard's names.
_CAPITALS = {
    "minlength": "minLength", "maxlength": "maxLength", "mininclusive": "minInclusive", "maxinclusive": "maxInclusive",
    "minexclusive": "minExclusive", "maxexclusive": "maxExclusive", "totaldigits": "totalDigits",
    "fractiondigits": "fractionDigits", "idc": "identity-constraint",
}  # fmt: skip
_PREFIX = re.compile(r"^Element '[^']*'(?:, attribute '([^']*)')?: (?:\[facet '[^']*'\] )?")
_VALUE = re.compile(r"^The value '(.*?)' |^'(.*?)' is not a valid value", re.DOTALL)
_WHITE = " \t\n\r"
_STEP = re.compile(r"([^@\[\]]+)(?:\[(\d+)\])?")


_CODES = {"SCHEMAV_ELEMENT_CONTENT": "cvc-complex-type.2.4"}  # where libxml2's own name is none of the standard's


def _code(name: str) -> str:
    if name in _CODES:
        return _CODES[name]
    name = name.removeprefix("SCHEMAV_").lower()
    parts = [_CAPITALS.get(part, part) for part in name.split("_")]
    # cvc-complex-type.2.4: numbers are set off by dots
    code = parts[0]
    for part in parts[1:]:
        code += ("." if part[0].isdigit() else "-") + part
    return code


class Paths:
    """Readable paths, with the children of each element counted once."""

    def __init__(self) -> None:
        self._steps: dict[etree._Element, dict[etree._Element, str]] = {}

    def of(self, element: etree._Element) -> str:
        """``/order/items/item[3]``: local names; a number where siblings share the name."""
        steps: list[str] = []
        node = element
        while (parent := node.getparent()) is not None:
            if parent not in self._steps:
                self._steps[parent] = self._numbered(parent)
            steps.append(self._steps[parent][node])
            node = parent
        steps.append(local(str(node.tag)))
        return "/" + "/".join(reversed(steps))

    @staticmethod
    def _numbered(parent: etree._Element) -> dict[etree._Element, str]:
        names = [local(str(child.tag)) for child in parent.iterchildren()]
        times, seen = Counter(names), Counter[str]()
        found = {}
        for child, name in zip(parent.iterchildren(), names, strict=True):
            seen[name] += 1
            found[child] = f"{name}[{seen[name]}]" if times[name] > 1 else name
        return found


def readable_path(element: etree._Element) -> str:
    """``/order/items/item[3]``."""
    return Paths().of(element)


class Finder:
    """Finds the elements behind libxml2's paths, such as ``/*/*[2]/ns1:item[3]/qty``.

    Not by XPath: what a prefix means is for the document to say, and it may say otherwise further down.
    """

    def __init__(self, root: etree._Element) -> None:
        self._found: dict[str, etree._Element | None] = {"": None}
        self._children: dict[tuple[str, str], list[etree._Element]] = {}
        self._root = root

    def find(self, path: str) -> etree._Element | None:
        """The element, or that of the attribute; None when there is none."""
        if path not in self._found:
            above, _, step = path.rpartition("/")
            parts = _STEP.fullmatch(step)
            if parts is None:  # an attribute
                return self.find(above)
            self._found[path] = self._child(above, parts[1], int(parts[2] or 1))
        return self._found[path]

    def _child(self, above: str, name: str, number: int) -> etree._Element | None:
        parent = self.find(above)
        if parent is None and above:
            return None
        named = self._children.get((above, name))
        if named is None:
            among = [self._root] if parent is None else parent
            named = [e for e in among if name == "*" or name == _qualified(e)]
            self._children[above, name] = named
        return named[number - 1] if number <= len(named) else None


def _qualified(element: etree._Element) -> str:
    name = local(str(element.tag))
    return f"{element.prefix}:{name}" if element.prefix else name


def describe(entries: Sequence[etree._LogEntry], root: etree._Element | None, limit: int) -> tuple[list[Problem], int]:
    """Problems of the first ``limit`` entries, and how many are left."""
    problems = []
    finder = Finder(root) if root is not None else None
    paths = Paths()
    for entry in entries[:limit]:
        message = entry.message.strip()
        prefix = _PREFIX.match(message)
        attribute = prefix[1] if prefix else None
        if prefix:
            message = message[prefix.end() :]
        element = finder.find(entry.path) if entry.path and finder is not None else None
        path = paths.of(element) if element is not None else ""
        if attribute:
            path += f"/@{local(attribute)}"
        value = _VALUE.match(message)
        text = next((group for group in value.groups() if group is not None), None) if value else None
        problems.append(Problem(_code(entry.type_name), message, path, entry.line or None, text))
    return problems, max(0, len(entries) - limit)


def strip_values(entries: Sequence[etree._LogEntry], root: etree._Element) -> bool:
    """Takes away the white space around values that libxml2 finds no values of their atomic type. Whether there is any.

    By the standard all types of which a text may be no value collapse white space (part 2, 4.3.6); libxml2 forgets it
    for dates, times and durations.
    """
    finder = Finder(root)
    found = False
    for entry in entries:
        if entry.type_name != "SCHEMAV_CVC_DATATYPE_VALID_1_2_1" or not entry.path:
            continue
        element, prefix = finder.find(entry.path), _PREFIX.match(entry.message.strip())
        if element is None or prefix is None:
            continue
        name = prefix[1]
        text = element.text if name is None else element.get(name)
        if text is not None and text != text.strip(_WHITE):
            found = True
            if name is None:
                element.text = text.strip(_WHITE)
            else:
                element.set(name, text.strip(_WHITE))
    return found
